package rabbitmq

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// A server that loses who asks for a virtual host leaves it half made, for ever.
func TestVirtualHostLeftHalfMade(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "half")
	inst := newInstance("half", nil)
	t.Cleanup(func() {
		if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
			t.Error(err)
		}
	})
	for attempt := 0; !server.leftHalfMade(t, b, inst); attempt++ {
		if attempt == 100 {
			t.Skip("this machine makes it too quickly to be interrupted")
		}
		if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
			t.Fatal(err)
		}
	}
	if err := servicetest.Patient(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	dialled(t, bound(t, b, inst, "b", `{}`))
}

// leftHalfMade hangs up on the server as soon as it knows the virtual host, and
// says whether that left it half made.
func (s *testServer) leftHalfMade(t *testing.T, b *backend, inst instance) bool {
	t.Helper()
	vhost := b.names.vhost(inst.Name)
	var found struct {
		State map[string]string `json:"cluster_state"`
	}
	ctx, hangUp := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { done <- b.api.putVhost(ctx, vhost, "made by chandler", "") }()
	eventually(t, "the server knows the virtual host", func() bool { return s.ask(testContext(t), "/api/vhosts/"+vhost, &found) == nil })
	hangUp()
	if err := <-done; err == nil {
		return false
	}
	if err := s.ask(testContext(t), "/api/vhosts/"+vhost, &found); err != nil {
		t.Fatal(err)
	}
	for _, state := range found.State {
		if state == stopped {
			return true
		}
	}
	return false
}

// What somebody uses is not made anew because it does not run.
func TestStoppedVirtualHost(t *testing.T) {
	for _, c := range []struct {
		name, limits, want string
		removed            bool
	}{
		{"half made", `[]`, "being made again", true},
		{"in use", `[{"vhost": "x", "value": {"max-connections": 5}}]`, "does not run on rabbit@two; see why", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var removed atomic.Bool
			fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch {
				case r.Method == http.MethodDelete:
					removed.Store(true)
					fallthrough
				case r.Method == http.MethodPut:
					w.WriteHeader(http.StatusNoContent)
				case strings.HasPrefix(r.URL.Path, "/api/vhost-limits/"):
					_, _ = w.Write([]byte(c.limits))
				default:
					_, _ = w.Write([]byte(`{"name": "x", "cluster_state": {"rabbit@one": "running", "rabbit@two": "stopped"}}`))
				}
			}))
			t.Cleanup(fake.Close)
			b := openBackend(t, json.RawMessage(`{"url": "`+strings.Replace(fake.URL, "//", "//admin:hunter2@", 1)+`"}`))
			expect(t, servicetest.Once(b).Provision(testContext(t), newInstance("i", nil)), c.want)
			if removed.Load() != c.removed {
				t.Errorf("removed: %t", removed.Load())
			}
		})
	}
}
