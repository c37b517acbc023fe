package vault

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/api"
)

// errExpired is for a token whose renewal ended without an error.
var errExpired = errors.New("its time has run out")

// attend has the token of a login renewed until ctx ends. If the token ends first, it
// logs in again.
func (s *session) attend(ctx context.Context, auth *api.SecretAuth, number int) {
	if auth.LeaseDuration == 0 { // the token never ends
		return
	}
	if s.given() && !auth.Renewable {
		s.logger.WarnContext(ctx, "vault token is not renewable and will end, replace VAULT_TOKEN before", "lease_seconds", auth.LeaseDuration)
		return
	}
	watcher, err := s.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: &api.Secret{Auth: auth}})
	if err != nil { // impossible: it requires a secret and gets one
		s.logger.ErrorContext(ctx, "vault token is not renewed", "error", err.Error())
		return
	}
	go watcher.Start()
	defer watcher.Stop()
	select {
	case <-ctx.Done():
		return
	case err = <-watcher.DoneCh():
	}
	if s.given() {
		s.logger.ErrorContext(ctx, "vault token cannot be renewed any longer, replace VAULT_TOKEN", "error", cmp.Or(err, errExpired).Error())
		return
	}
	_, since := s.current()
	if pause(ctx, shortestPause-time.Since(since)) { // at once, unless the token was very short-lived
		s.insist(number)
	}
}

// insist replaces the token of the login of that number. While Vault is away, it tries
// again after a growing pause.
func (s *session) insist(number int) {
	for wait := shortestPause; ; wait = min(2*wait, longestPause) {
		err := s.renew(s.ctx, number)
		if err == nil || s.ctx.Err() != nil {
			return
		}
		s.logger.WarnContext(s.ctx, "vault login failed", "auth", s.method, "error", err.Error(), "retry_in", wait.String())
		if !pause(s.ctx, wait) {
			return
		}
	}
}

// pause waits. It returns false if ctx ends first.
func pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}
