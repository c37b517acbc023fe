package auth

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

func basicClient(name string) catalog.Client {
	return catalog.Client{Name: name, Username: name, Passwords: []services.Secret{services.NewSecret("password-of-" + name)}}
}

func basic(from, username, password string) *http.Request {
	r := httptest.NewRequest("GET", "/v2/catalog", nil)
	r.RemoteAddr = from + ":1234"
	r.SetBasicAuth(username, password)
	return r
}

// Who guesses has to wait, even with the right password in the end; nobody else
// has, behind the same address or another.
func TestGuessing(t *testing.T) {
	var log bytes.Buffer
	reasons := map[string]int{}
	d, err := New(Options{
		Clients: []catalog.Client{basicClient("cf"), basicClient("k8s")}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Refused: func(reason string) { reasons[reason]++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	come := func(from, name string) int {
		_, err := d.Authenticate(basic(from, name, "password-of-"+name))
		return status(err)
	}
	if got := come("10.0.0.1", "cf"); got != http.StatusOK {
		t.Fatal(got)
	}
	for n := range burst {
		if _, err := d.Authenticate(basic("10.0.0.1", "k8s", fmt.Sprint("guess number ", n))); status(err) != http.StatusUnauthorized {
			t.Fatal(n, err)
		}
	}
	for n := range 100 {
		_, err := d.Authenticate(basic("10.0.0.1", "k8s", fmt.Sprint("another guess ", n)))
		if status(err) != http.StatusTooManyRequests || refusal(err).RetryAfter == 0 {
			t.Fatal(n, err)
		}
	}
	for _, step := range []struct {
		what, from, name string
		want             int
	}{
		{"a right guess", "10.0.0.1", "k8s", http.StatusTooManyRequests},
		{"a platform behind the same address", "10.0.0.1", "cf", http.StatusOK},
		{"the platform whose password was guessed at, from its own address", "10.0.0.2", "k8s", http.StatusOK},
	} {
		if got := come(step.from, step.name); got != step.want {
			t.Errorf("%s: %d", step.what, got)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != burst {
		t.Errorf("%d lines in the log:\n%s", lines, log.String())
	}
	if strings.Contains(log.String(), "guess") {
		t.Error("the log has passwords")
	}
	if reasons[badPassword] != burst || reasons[tooMany] < 100 {
		t.Error(reasons)
	}
}

func TestSource(t *testing.T) {
	for _, test := range []struct{ name, from, forwarded, want string }{
		{"direct", "192.0.2.1:1", "", "192.0.2.1"},
		{"forged without a proxy", "192.0.2.1:1", "198.51.100.1", "192.0.2.1"},
		{"behind a proxy", "10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"forged behind a proxy", "10.0.0.1:1", "203.0.113.9, 198.51.100.1", "198.51.100.1"},
		{"behind two proxies", "10.0.0.1:1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"behind a proxy that says nothing", "10.0.0.1:1", "", "10.0.0.1"},
		{"behind a proxy that says nonsense", "10.0.0.1:1", "198.51.100.1, unknown", "10.0.0.1"},
		{"IPv6 is a network", "[2001:db8:1:2:3:4:5:6]:1", "", "2001:db8:1:2::"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:1", "", "192.0.2.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &Authenticator{options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = test.from
			if test.forwarded != "" {
				r.Header.Set("X-Forwarded-For", test.forwarded)
			}
			if got := d.source(r); got.String() != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// Any number of sources takes bounded memory.
func TestManySources(t *testing.T) {
	l := newLimits()
	for n := range 3 * mostSources {
		l.fail(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}))
	}
	if n := l.sources.Len(); n != mostSources {
		t.Errorf("%d sources are remembered", n)
	}
}
