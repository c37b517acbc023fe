package vault_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/credhub/vault"
	"github.com/chandler-broker/chandler/services"
)

// notFresh waits until a token is old enough to be replaced when Vault refuses
// it.
const notFresh = 1100 * time.Millisecond

// logins counts the tokens that AppRole has given and that are alive.
func (s server) logins(t *testing.T) int {
	t.Helper()
	list, err := s.admin.Logical().ListWithContext(t.Context(), "auth/token/accessors")
	check(t, err)
	alive := 0
	for _, accessor := range list.Data["keys"].([]any) {
		found, err := s.admin.Auth().Token().LookupAccessorWithContext(t.Context(), accessor.(string))
		if err == nil && found.Data["path"] == "auth/approle/login" {
			alive++
		}
	}
	return alive
}

// loseLease revokes every token of AppRole, as an operator does after a leak.
func (s server) loseLease(t *testing.T) {
	t.Helper()
	check(t, s.admin.Sys().RevokePrefixWithContext(t.Context(), "auth/approle/login"))
}

// Calls go on beyond the life of a token, without one failure: it is renewed up
// to its end, and replaced.
func TestTokensAreRenewedAndReplaced(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]map[string]any{
		"renewed for ever":    {"token_period": "3s"},
		"renewed to an end":   {"token_ttl": "2s", "token_max_ttl": "4s"},
		"never renewed":       {"token_ttl": "3s", "token_max_ttl": "3s"},
		"batch, no renewable": {"token_type": "batch", "token_ttl": "3s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			store := open(t, s.withAppRole(t, role))
			mustPut(t, store)
			for end := time.Now().Add(7 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				mustServe(t, store)
			}
		})
	}
}

func TestGivenTokenIsRenewed(t *testing.T) {
	t.Parallel()
	s := start(t)
	store := open(t, vault.Config{Address: s.Addr(), Token: services.NewSecret(s.token(t, map[string]any{"period": "3s"}))})
	mustPut(t, store)
	time.Sleep(6 * time.Second)
	mustServe(t, store)
}

// A token that was given cannot be replaced: the operator is told, in the log
// before it ends and by every call after.
func TestGivenTokenExpires(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token map[string]any
		log   string
	}{
		"renewable up to an end": {map[string]any{"ttl": "2s", "explicit_max_ttl": "2s"}, "cannot be renewed any longer"},
		"not renewable":          {map[string]any{"ttl": "2s", "renewable": false}, "is not renewable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			var log syncBuffer
			store := open(t, vault.Config{
				Address: s.Addr(), Token: services.NewSecret(s.token(t, c.token)), Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			mustPut(t, store)
			time.Sleep(3 * time.Second)
			mustFail(t, store, "refuses the token: it has expired or was revoked")
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("the log does not say %q:\n%s", c.log, log.String())
			}
		})
	}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// A lost lease leads to one new login and one repeat, however many calls find
// out.
func TestLostLease(t *testing.T) {
	t.Parallel()
	s := start(t)
	store := open(t, s.withAppRole(t, nil))
	mustPut(t, store)
	for range 2 {
		time.Sleep(notFresh)
		s.loseLease(t)
		if n := s.logins(t); n != 0 {
			t.Fatalf("%d tokens are alive after the lease was lost", n)
		}
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				if _, err := store.Get(t.Context(), path); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if n := s.logins(t); n != 1 {
			t.Errorf("%d logins for one lost lease", n)
		}
	}
	mustServe(t, store)
}

func TestOutageLongerThanTheToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	store := open(t, s.withAppRole(t, map[string]any{"token_ttl": "2s"}))
	mustPut(t, store)
	s.Kill()
	time.Sleep(3 * time.Second)
	check(t, s.Restart(t.Context()))
	soon(t, store.Ready)
	mustServe(t, store)
}

// A permission that is missing is no reason to log in over and over.
func TestMissingPermissionDoesNotLogInOverAndOver(t *testing.T) {
	t.Parallel()
	s := start(t)
	config := s.withAppRole(t, map[string]any{"token_policies": "none"})
	store := open(t, config)
	for range 50 {
		if _, err := store.Get(t.Context(), path); err == nil || !strings.Contains(err.Error(), "policy does not allow") {
			t.Fatalf("got %v", err)
		}
	}
	if n := s.logins(t); n > 3 {
		t.Errorf("%d logins for 50 calls", n)
	}
	// Once it is granted, the next login brings it.
	s.write(t, "auth/approle/role/broker", map[string]any{"token_policies": "chandler"})
	time.Sleep(notFresh)
	mustPut(t, store)
	mustServe(t, store)
}

func TestSecretIDFileIsReadAnew(t *testing.T) {
	t.Parallel()
	s := start(t)
	config := s.withAppRole(t, nil)
	file := filepath.Join(t.TempDir(), "secret-id")
	check(t, os.WriteFile(file, []byte(s.secretID(t)+"\n"), 0o600))
	config.SecretID, config.SecretIDFile = services.Secret{}, file
	store := open(t, config)
	mustPut(t, store)

	check(t, os.WriteFile(file, []byte("a-secret-id-of-another-day"), 0o600))
	time.Sleep(notFresh)
	s.loseLease(t)
	err := store.Put(t.Context(), path, value)
	if err == nil || !strings.Contains(err.Error(), "log in at auth/approle") || strings.Contains(err.Error(), "another-day") {
		t.Errorf("with a wrong secret ID: %v", err)
	}
	check(t, os.Remove(file))
	if err := store.Put(t.Context(), path, value); err == nil || !strings.Contains(err.Error(), "VAULT_SECRET_ID_FILE") {
		t.Errorf("without the file: %v", err)
	}
	check(t, os.WriteFile(file, []byte(s.secretID(t)), 0o600))
	mustPut(t, store)
	mustServe(t, store)
}

func TestCloseRevokesItsOwnToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	store := open(t, s.withAppRole(t, nil))
	mustPut(t, store)
	given := s.withToken(t)
	other := open(t, given)
	mustServe(t, other)
	for range 2 {
		check(t, store.Close())
		check(t, other.Close())
	}
	if n := s.logins(t); n != 0 {
		t.Errorf("%d tokens left", n)
	}
	if _, err := store.Get(t.Context(), path); err == nil {
		t.Error("it serves after Close")
	}
	mustServe(t, open(t, given)) // that token is not ours to revoke
}

// A Vault that is away is left in peace: the background tries at growing
// intervals, and each call makes one attempt.
func TestNoBusyLoopWhileVaultIsAway(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
	}))
	defer away.Close()
	store := open(t, vault.Config{Address: away.URL, Auth: vault.AuthAppRole, RoleID: "r", SecretID: services.NewSecret("s")})
	time.Sleep(4 * time.Second) // tries after 0, 1 and 3 s
	if n := requests.Load(); n < 2 || n > 4 {
		t.Errorf("%d requests in 4 s", n)
	}
	before := requests.Load()
	if _, err := store.Get(t.Context(), path); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("got %v", err)
	}
	if n := requests.Load() - before; n > 2 {
		t.Errorf("one call makes %d requests", n)
	}
	begin := time.Now()
	_ = store.Close() // there is no token to revoke
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("Close takes %v", took)
	}
}

func TestCallsEndWithTheirContextDuringLogin(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(release)
	store := open(t, vault.Config{Address: slow.URL, Auth: vault.AuthAppRole, RoleID: "r", SecretID: services.NewSecret("s")})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := store.Get(ctx, path)
	if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took > 20*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}
