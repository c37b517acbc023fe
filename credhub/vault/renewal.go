package vault

import (
	"time"

	"github.com/hashicorp/vault/api"
)

// keep logs in and has the token renewed until the session is closed. While
// Vault is away it tries again after a pause that grows.
func (s *session) keep() {
	var watcher *api.LifetimeWatcher
	var lapsed <-chan error
	stop := func() {
		if watcher != nil {
			watcher.Stop()
		}
		watcher, lapsed = nil, nil
	}
	defer stop()
	next := time.NewTimer(0)
	defer next.Stop()
	pause := shortestPause
	for {
		select {
		case <-s.ctx.Done():
			return
		case auth := <-s.granted:
			stop()
			pause = shortestPause
			next.Stop()
			s.logger.InfoContext(s.ctx, "vault token accepted", "auth", s.method, "lease_seconds", auth.LeaseDuration, "renewable", auth.Renewable)
			if watcher = s.watch(auth); watcher != nil {
				lapsed = watcher.DoneCh()
			}
		case err := <-lapsed:
			stop()
			if s.given {
				s.logger.ErrorContext(s.ctx, "vault token cannot be renewed any longer, replace VAULT_TOKEN", "error", errorText(err))
				continue
			}
			_, since := s.current()
			next.Reset(shortestPause - time.Since(since)) // at once, but for a token that hardly lived
		case <-next.C:
			number, _ := s.current()
			if err := s.renew(s.ctx, number); err != nil && s.ctx.Err() == nil {
				s.logger.WarnContext(s.ctx, "vault login failed", "auth", s.method, "error", err.Error(), "retry_in", pause.String())
				next.Reset(pause)
				pause = min(2*pause, longestPause)
			}
		}
	}
}

// watch has the token renewed by Vault's own client. Nil: there is nothing to
// renew.
func (s *session) watch(auth *api.SecretAuth) *api.LifetimeWatcher {
	if auth.LeaseDuration == 0 { // it never ends
		return nil
	}
	if s.given && !auth.Renewable {
		s.logger.WarnContext(s.ctx, "vault token is not renewable and will end, replace VAULT_TOKEN before", "lease_seconds", auth.LeaseDuration)
		return nil
	}
	watcher, err := s.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: &api.Secret{Auth: auth}})
	if err != nil { // cannot be: it wants a secret and has one
		s.logger.ErrorContext(s.ctx, "vault token is not renewed", "error", err.Error())
		return nil
	}
	go watcher.Start()
	return watcher
}

// errorText is for an error that is nil where time just ran out.
func errorText(err error) string {
	if err == nil {
		return "its time has run out"
	}
	return err.Error()
}
