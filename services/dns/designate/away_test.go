package designate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	cloud "github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// front answers in the place of a service while broken is set.
type front struct {
	*httptest.Server
	broken atomic.Pointer[http.HandlerFunc]
}

// newFront stands before the gateway. Only requests for paths with this beginning are broken.
func (s *testServer) newFront(t *testing.T, beginning string) *front {
	t.Helper()
	f := &front{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.gateway})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken := f.broken.Load(); broken != nil && strings.HasPrefix(r.URL.Path, beginning) {
			(*broken)(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *front) address() string { return f.Listener.Addr().String() }

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// echo answers with what it was sent, as a proxy's page of an error may.
func echo(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error": {"code": %d, "title": "Echo", "message": %q}}`, status, fmt.Sprint(r.Header, string(body)))
	}
}

func slow(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(time.Minute):
	}
}

// A service that fails is named, is not the user's fault, and shows no secret.
func TestBrokenServices(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for service, path := range map[string]string{"Keystone": "/v3", "Designate": "/v2"} {
		f := s.newFront(t, path)
		ready := provisioned(t, s.backend(t), service, named(t, strings.ToLower(service)))
		binding := services.Binding[BindingParams]{ID: "b", Name: services.BindingName(ready.ID, "b"), Params: BindingParams{Role: access.ReadWrite}, Seed: newSeed(t)}
		for name, broken := range map[string]http.HandlerFunc{
			"500 with a text":   answer(http.StatusInternalServerError, "application/json", `{"error": {"code": 500, "message": "boom", "title": "Internal"}}`),
			"502 in HTML":       answer(http.StatusBadGateway, "text/html", "<html><body>Bad gateway</body></html>"),
			"200 in HTML":       answer(http.StatusOK, "text/html", "<html><body>Please log in</body></html>"),
			"200 null":          answer(http.StatusOK, "application/json", "null"),
			"200, cut off":      answer(http.StatusOK, "application/json", `{"zones": [`),
			"200, another list": answer(http.StatusOK, "application/json", `{"zones": {}, "projects": 1, "users": "x"}`),
			"503 without text":  answer(http.StatusServiceUnavailable, "text/plain", ""),
			"no answer":         slow,
		} {
			t.Run(service+" "+name, func(t *testing.T) {
				b := s.backendAt(t, f.address()) // as after a restart
				f.broken.Store(&broken)
				defer f.broken.Store(nil)
				inst := newInstance(t, "i", named(t, "never"))
				for verb, call := range map[string]func(context.Context) error{
					"provision": func(ctx context.Context) error { return servicetest.Once(b).Provision(ctx, inst) },
					"bind":      func(ctx context.Context) error { _, err := servicetest.Once(b).Bind(ctx, ready, binding); return err },
					"update": func(ctx context.Context) error {
						return servicetest.Once(b).Update(ctx, ready, withRecords(ready, zone.Record{Name: "x", Type: "A", Values: []string{"192.0.2.1"}}))
					},
					"deprovision": func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, ready) },
				} {
					limit := 20 * time.Second // the other service answers, slowly on a busy machine
					if name == "no answer" {
						limit = 2 * time.Second
					}
					ctx, cancel := context.WithTimeout(testContext(t), limit)
					start := time.Now()
					err := call(ctx)
					cancel()
					if took := time.Since(start); took > limit+8*time.Second {
						t.Errorf("%s took %s", verb, took)
					}
					if err == nil || name != "no answer" && !strings.Contains(err.Error(), service) {
						t.Errorf("%s: %v, want %s in it", verb, err, service)
						continue
					}
					if _, rejected := services.IsRejected(err); rejected {
						t.Errorf("%s: reported as the user's error: %v", verb, err)
					}
				}
			})
		}
	}
}

// Not even an answer that repeats the request gets secrets into errors.
func TestEchoedSecrets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ready := provisioned(t, s.backend(t), "i", named(t, "z"))
	binding := services.Binding[BindingParams]{ID: "b", Name: services.BindingName(ready.ID, "b"), Params: BindingParams{Role: access.ReadWrite}, Seed: newSeed(t)}
	for _, path := range []string{"/v3/auth", "/v3/users", "/v2"} {
		for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusInternalServerError} {
			f := s.newFront(t, path)
			b := s.backendAt(t, f.address())
			broken := echo(status)
			f.broken.Store(&broken)
			_, err := servicetest.Once(b).Bind(testContext(t), ready, binding)
			if err == nil {
				t.Errorf("%s %d: no error", path, status)
				continue
			}
			for _, hidden := range []string{s.Identity.Broker().Password, "gAAAA"} { // the beginning of Fernet tokens
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("%s %d: %q is in the error: %v", path, status, hidden, err)
				}
			}
			if text := binding.Seed.Scrub(err.Error()); text != err.Error() {
				t.Errorf("%s %d: a secret of the binding is in the error: %v", path, status, text)
			}
		}
	}
}

// While the name server is away, zones wait for it, and are removed without it.
func TestNameServerAway(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "chandler-test-away-") // t.TempDir's are closed to the servers' user
	if err == nil {
		err = os.Chmod(dir, 0o711) //nolint:gosec // the servers' user passes it
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := embeddedtest.OpenStackOn(t, dir, cloud.DNS)
	s := newServerOn(t, c)
	b := s.backend(t)
	kept := provisioned(t, b, "kept", named(t, "kept"))
	app := dialled(t, bound(t, b, kept, "b", access.ReadWrite))
	if err := c.DNS.NameServer.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	inst := newInstance(t, "i", named(t, "waits"))
	t.Cleanup(func() {
		if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
			t.Error(err)
		}
	})
	var last error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		last = servicetest.Once(b).Provision(testContext(t), inst)
		if notYet, ok := errors.AsType[*services.NotYetError](last); !ok {
			t.Fatalf("provision: %v", last)
		} else if strings.Contains(notYet.Note, "tries again") {
			break
		}
	}
	if last == nil || !strings.Contains(last.Error(), "could not send the zone to its name servers yet") {
		t.Errorf("provision, without the name server: %v", last)
	}
	if err := app.Ping(testContext(t)); err != nil {
		t.Errorf("the API: %v", err)
	}
	gone := provisionedOnce(t, b, "gone")
	if err := servicetest.Patient(b).Deprovision(testContext(t), gone); err != nil {
		t.Errorf("deprovision, without the name server: %v", err)
	}
	if left, err := s.leftOf(testContext(t), gone.Name, nil); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// provisionedOnce begins to provision an instance.
func provisionedOnce(t *testing.T, b *backend, id string) instance {
	t.Helper()
	inst := newInstance(t, id, named(t, id))
	err := servicetest.Once(b).Provision(testContext(t), inst)
	if _, ok := errors.AsType[*services.NotYetError](err); !ok {
		t.Fatalf("provision: %v", err)
	}
	return inst
}
