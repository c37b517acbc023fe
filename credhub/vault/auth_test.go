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

// notFresh is after a token is old enough to be replaced if Vault refuses it.
const notFresh = 1100 * time.Millisecond

// logins counts the valid tokens that AppRole has issued.
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

// loseLease revokes every token of AppRole, like an operator after a leak.
func (s server) loseLease(t *testing.T) {
	t.Helper()
	check(t, s.admin.Sys().RevokePrefixWithContext(t.Context(), "auth/approle/login"))
}

// Calls succeed beyond the lifetime of a token: the store renews it up to its end, and
// then replaces it.
func TestTokensAreRenewedAndReplaced(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]map[string]any{
		"renewable without an end": {"token_period": "3s"},
		"renewed to an end":        {"token_ttl": "2s", "token_max_ttl": "4s"},
		"never renewed":            {"token_ttl": "3s", "token_max_ttl": "3s"},
		"batch, not renewable":     {"token_type": "batch", "token_ttl": "3s"},
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

// A token from the configuration cannot be replaced. The log tells the operator before it
// ends, and every call does so afterwards.
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
				t.Errorf("the log does not contain %q:\n%s", c.log, log.String())
			}
		})
	}
}

// syncBuffer is a log for several goroutines.
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

// After a lost lease, the store logs in once and repeats each call once, however many calls
// fail.
func TestLostLease(t *testing.T) {
	t.Parallel()
	s := start(t)
	store := open(t, s.withAppRole(t, nil))
	mustPut(t, store)
	for range 2 {
		time.Sleep(notFresh)
		s.loseLease(t)
		if n := s.logins(t); n != 0 {
			t.Fatalf("%d tokens are valid after the lease was lost", n)
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
			t.Errorf("%d logins for one lost lease, want 1", n)
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

// If a permission is missing, the store does not log in for every call.
func TestMissingPermissionDoesNotLogInOverAndOver(t *testing.T) {
	t.Parallel()
	s := start(t)
	config := s.withAppRole(t, map[string]any{"token_policies": "none"})
	store := open(t, config)
	for range 50 {
		if _, err := store.Get(t.Context(), path); err == nil || !strings.Contains(err.Error(), "policy does not allow") {
			t.Fatalf("Get: %v, want an error about the policy", err)
		}
	}
	if n := s.logins(t); n > 3 {
		t.Errorf("%d logins for 50 calls, want at most 3", n)
	}
	// After the operator grants it, the next login gets it.
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

	check(t, os.WriteFile(file, []byte("a-former-secret-id"), 0o600))
	time.Sleep(notFresh)
	s.loseLease(t)
	err := store.Put(t.Context(), path, value)
	if err == nil || !strings.Contains(err.Error(), "log in at auth/approle") || strings.Contains(err.Error(), "a-former") {
		t.Errorf("Put with a wrong secret ID: %v", err)
	}
	check(t, os.Remove(file))
	if err := store.Put(t.Context(), path, value); err == nil || !strings.Contains(err.Error(), "VAULT_SECRET_ID_FILE") {
		t.Errorf("Put without the file: %v", err)
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
		t.Errorf("%d tokens of the store are still valid", n)
	}
	if _, err := store.Get(t.Context(), path); err == nil {
		t.Error("Get works after Close")
	}
	mustServe(t, open(t, given)) // Close does not revoke a token from the configuration
}

// While Vault is away, the background tries at growing intervals, and each call makes one
// attempt.
func TestNoBusyLoopWhileVaultIsAway(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
	}))
	defer away.Close()
	store := open(t, vault.Config{Address: away.URL, Auth: vault.AuthAppRole, RoleID: "r", SecretID: services.NewSecret("s")})
	time.Sleep(4 * time.Second) // attempts after 0, 1 and 3 s
	if n := requests.Load(); n < 2 || n > 4 {
		t.Errorf("%d requests in 4 s, want 2 to 4", n)
	}
	before := requests.Load()
	if _, err := store.Get(t.Context(), path); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("Get: %v, want an error that Vault is sealed", err)
	}
	if n := requests.Load() - before; n > 2 {
		t.Errorf("one call makes %d requests, want at most 2", n)
	}
	begin := time.Now()
	_ = store.Close() // there is no token to revoke
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("Close takes %v, want at most 20 s", took)
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
		t.Errorf("Get returns after %v: %v, want the context's error within 20 s", took, err)
	}
}
