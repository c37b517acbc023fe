package vault

import (
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
	// youngest is how old a token must be to be replaced because Vault
	// refused it: where a policy lacks something, each call would log in
	// again.
	youngest = time.Second
	// shortestPause and longestPause lie between two logins of the
	// background.
	shortestPause = time.Second
	longestPause  = 30 * time.Second
)

// errClosed is for calls after Close.
var errClosed = errors.New("the credential store is closed")

// session keeps a token good: it logs in, has the token renewed by the client's
// own LifetimeWatcher, and logs in again when that ends or when Vault refuses
// the token. A token that was given to it is renewed only: there is no way to
// get another.
type session struct {
	client  *api.Client // holds the token
	login   login
	given   bool // the token was given to us
	logger  *slog.Logger
	method  string
	logins  singleflight.Group
	granted chan *api.SecretAuth // newest grant, for the background

	mu     sync.Mutex
	number int // of logins so far
	since  time.Time

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	ended  chan struct{}
}

func startSession(c Config, all clients) *session {
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{
		client: all.session, login: loginWith(c, all), given: c.Auth == AuthToken, logger: c.Logger, method: c.Auth,
		granted: make(chan *api.SecretAuth, 1), ctx: ctx, cancel: cancel, ended: make(chan struct{}),
	}
	go func() {
		defer close(s.ended)
		s.keep()
	}()
	return s
}

// close ends the background and revokes a token that nobody else has.
func (s *session) close() error {
	s.cancel()
	<-s.ended
	if s.given || s.client.Token() == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.client.Auth().Token().RevokeSelfWithContext(ctx, "")
	s.client.ClearToken()
	if err := plain(ctx, s.client.Address(), err); err != nil && !isRefused(err, http.StatusForbidden) {
		return fmt.Errorf("vault: revoke the token, which ends by itself: %w", err)
	}
	return nil
}

// do makes a call, with a token. A call that Vault refuses is repeated once
// after a new login.
func (s *session) do(ctx context.Context, call func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	number, since := s.current()
	if number == 0 && !s.given {
		if err := s.renew(ctx, number); err != nil {
			return err
		}
		return call()
	}
	err := call()
	if s.given || !isRefused(err, http.StatusForbidden) || time.Since(since) < youngest {
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

// renew logs in, unless that has been done since the login of that number. Of
// several callers at once one does it for all.
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
	s.client.SetToken(auth.ClientToken)
	s.mu.Lock()
	s.number++
	s.since = time.Now()
	s.mu.Unlock()
	select { // an older grant that the background has not seen is worth nothing
	case <-s.granted:
	default:
	}
	s.granted <- auth
	return nil
}
