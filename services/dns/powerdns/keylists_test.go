package powerdns

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// While bindings come and go, a zone never accepts updates without a key: on an SQL database
// PowerDNS deletes the list of keys before it writes it anew.
func TestNobodyUpdatesWithoutKey(t *testing.T) {
	b, ctx := newServer(t).backend(t), testContext(t)
	inst := provisioned(t, b, "i", nil)
	first := bound(t, b, inst, "first", BindingParams{})
	var tried, accepted atomic.Int64
	var attackers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		attackers.Go(func() {
			conn, err := dns.DialTimeout("udp", b.server.Address(), dialTimeout)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			client := dns.Client{Timeout: time.Second}
			for {
				select {
				case <-stop:
					return
				default:
				}
				answer, _, err := client.ExchangeWithConnContext(ctx, insertion(t, first.zone, "attack."+first.zone+" 60 IN A 192.0.2.1"), conn)
				tried.Add(1)
				if err == nil && answer.Rcode == dns.RcodeSuccess {
					accepted.Add(1)
				}
			}
		})
	}
	changes := 0
	for began := time.Now(); time.Since(began) < 3*time.Second; changes++ {
		bd := newBinding(t, inst, "other", BindingParams{})
		_, err := servicetest.Once(b).Bind(ctx, inst, bd)
		if err == nil {
			err = servicetest.Once(b).Unbind(ctx, inst, bd)
		}
		if answered(err) != 0 && answered(err) != http.StatusInternalServerError { // it is busy
			t.Fatal(err)
		}
	}
	close(stop)
	attackers.Wait()
	if accepted.Load() > 0 || tried.Load() < 100 || changes < 3 {
		t.Errorf("%d of %d updates without a key were accepted during %d changes of the keys", accepted.Load(), tried.Load(), changes)
	}
	if err := first.Ping(ctx); err != nil {
		t.Errorf("the other binding: %v", err)
	}
}

// A server that crashes while it writes a list of keys loses a part of it. The next bind or unbind
// brings the other bindings' keys back, and nobody can use the zone without a key meanwhile.
func TestInterruptedList(t *testing.T) {
	server := newServer(t)
	direct, ctx := server.backend(t), testContext(t)
	api, err := url.Parse(server.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	var crash atomic.Value // the path at which the server crashes once
	crash.Store("")
	proxy := httputil.NewSingleHostReverseProxy(api)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := crash.Load().(string)
		if path == "" || r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, path) {
			proxy.ServeHTTP(w, r)
			return
		}
		crash.Store("")
		zone := strings.Split(strings.Split(r.URL.Path, "/zones/")[1], "/")[0]
		if strings.Contains(path, "metadata") { // all old entries are deleted, and no new one is written
			_ = server.admin().Metadata.Delete(r.Context(), zone, pdns.MetadataKind(path[strings.LastIndex(path, "/")+1:]))
		} else {
			_ = direct.api.setTransfer(r.Context(), zone, nil)
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(front.Close)
	config, err := services.Decode[Config](server.proxied(strings.TrimPrefix(front.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	inst := provisioned(t, b, "i", nil)
	writer := bound(t, b, inst, "writer", BindingParams{})
	reader := bound(t, b, inst, "reader", BindingParams{Role: access.ReadOnly})
	works := func(what string) {
		t.Helper()
		if err := writer.Ping(ctx); err != nil {
			t.Errorf("%s: the other binding: %v", what, err)
		}
		if _, err := reader.transfer(ctx); err != nil {
			t.Errorf("%s: the reader: %v", what, err)
		}
		if r, err := b.readRights(ctx, writer.zone); err != nil || r.intended != nil || !r.open {
			t.Errorf("%s: a change is left: %+v, %v", what, r, err)
		}
	}
	for path, params := range map[string]BindingParams{
		"metadata/TSIG-ALLOW-DNSUPDATE": {}, "metadata/ALLOW-DNSUPDATE-FROM": {}, "metadata/X-CHANDLER-KEYS": {}, "/" + writer.zone: {Role: access.ReadOnly},
	} {
		bd := newBinding(t, inst, "other "+path, params)
		for _, verb := range []func() error{
			func() error { _, err := servicetest.Once(b).Bind(ctx, inst, bd); return err },
			func() error { return servicetest.Once(b).Unbind(ctx, inst, bd) },
		} {
			crash.Store(path)
			if verb() == nil || crash.Load() != "" {
				t.Fatalf("%s: there was no crash", path)
			}
			if unsigned(t, b.server.Address(), writer.zone, "attack."+writer.zone+" 60 IN A 192.0.2.1") == nil {
				t.Errorf("%s: the zone is open to everybody", path)
			}
			other := newBinding(t, inst, "unrelated "+path, BindingParams{})
			if _, err := servicetest.Once(b).Bind(ctx, inst, other); err != nil {
				t.Fatal(err)
			}
			works(path)
			if err := verb(); err != nil {
				t.Fatal(err)
			}
			works(path)
		}
	}
}
