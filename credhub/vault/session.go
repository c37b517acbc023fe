package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/singleflight"
)

const (
	// youngest is how old a token must be before it is replaced because Vault refused it.
	// If a policy lacks a permission, each call would log in again.
	youngest = time.Second
	// shortestPause and longestPause are between two logins of the background.
	shortestPause = time.Second
	longestPause  = 30 * time.Second
)

// errClosed is for calls after Close.
var errClosed = errors.New("the credential store is closed")

// session holds a valid token: it logs in, has the token renewed by the client's
// LifetimeWatcher, and logs in again when the token ends or Vault refuses it. A token
// from the configuration is only renewed, because there is no way to get another.
type session struct {
	client *api.Client // holds the token
	login  login
	method string
	logger *slog.Logger
	logins singleflight.Group

	mu         sync.Mutex
	number     int // of logins so far
	since      time.Time
	endRenewal context.CancelFunc // ends the renewal of the last login's token

	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	background sync.WaitGroup
}

func startSession(c Config, all clients) *session {
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{
		client: all.session, login: loginWith(c, all), method: c.Auth, logger: c.Logger,
		endRenewal: func() {}, ctx: ctx, cancel: cancel,
	}
	s.background.Go(func() { s.insist(0) })
	return s
}

// isGiven says that the token comes from the configuration.
func (s *session) isGiven() bool { return s.method == AuthToken }

// close ends the background, and revokes a token that nobody else has.
func (s *session) close() error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.background.Wait()
	token := s.client.Token()
	s.client.ClearToken()
	return s.revoke(token)
}

// revoke revokes a token that the session logged in for. The client's own token may be
// another.
func (s *session) revoke(token string) error {
	if s.isGiven() || token == "" {
		return nil
	}
	client, err := s.client.CloneWithHeaders()
	if err != nil {
		return fmt.Errorf("vault: revoke the token, which ends by itself: %w", err)
	}
	client.SetToken(token)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = client.Auth().Token().RevokeSelfWithContext(ctx, "")
	if err := plain(ctx, s.client.Address(), err); err != nil && !isRefused(err, http.StatusForbidden) {
		return fmt.Errorf("vault: revoke the token, which ends by itself: %w", err)
	}
	return nil
}

// do makes a call with a token. It repeats a call that Vault refuses once, after a new
// login.
func (s *session) do(ctx context.Context, call func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	number, since := s.current()
	if number == 0 && !s.isGiven() {
		if err := s.renew(ctx, number); err != nil {
			return err
		}
		return call()
	}
	err := call()
	if s.isGiven() || !isRefused(err, http.StatusForbidden) || time.Since(since) < youngest {
		return err
	}
	if loginErr := s.renew(ctx, number); loginErr != nil {
		return fmt.Errorf("%w; a new login fails too: %w", err, loginErr)
	}
	return call()
}

func (s *session) current() (number int, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.number, s.since
}

// renew logs in, unless someone did so after the login of that number. Concurrent callers
// share one login.
func (s *session) renew(ctx context.Context, number int) error {
	login := s.logins.DoChan("", func() (any, error) {
		if now, _ := s.current(); now != number {
			return nil, nil
		}
		return nil, s.logIn()
	})
	select {
	case result := <-login:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) logIn() error {
	if s.ctx.Err() != nil {
		return errClosed
	}
	auth, err := s.login(s.ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil { // close waits for the background that began before
		return errors.Join(errClosed, s.revoke(auth.ClientToken))
	}
	s.client.SetToken(auth.ClientToken)
	s.logger.InfoContext(s.ctx, "vault token accepted", "auth", s.method, "lease_seconds", auth.LeaseDuration, "renewable", auth.Renewable)
	s.number++
	s.since = time.Now()
	s.endRenewal()
	var ctx context.Context
	ctx, s.endRenewal = context.WithCancel(s.ctx)
	number := s.number
	s.background.Go(func() { s.attend(ctx, auth, number) })
	return nil
}

// errExpired is for a token whose renewal ended without an error.
var errExpired = errors.New("it has expired")

// attend has the token of a login renewed until ctx ends. If the token ends first, it
// logs in again.
func (s *session) attend(ctx context.Context, auth *api.SecretAuth, number int) {
	if auth.LeaseDuration == 0 { // the token never ends
		return
	}
	if s.isGiven() && !auth.Renewable {
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
	if s.isGiven() {
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
