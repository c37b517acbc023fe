package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func runPowerDNS(t *testing.T, o Options) *PowerDNS {
	t.Helper()
	o.NoSync = true
	p, err := StartPowerDNS(t.Context(), o)
	if errors.Is(err, ErrNoPowerDNS) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopPowerDNS(t, p) })
	return p
}

func stopPowerDNS(t *testing.T, p *PowerDNS) {
	t.Helper()
	if err := p.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
		t.Fatal(err)
	}
}

// callPowerDNS makes a call of the API with the given key and returns status
// and body.
func callPowerDNS(t *testing.T, p *PowerDNS, key, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.APIURL()+"/api/v1/servers/localhost"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(content)
}

func makeZone(t *testing.T, p *PowerDNS) {
	t.Helper()
	status, body := callPowerDNS(t, p, p.APIKey(), http.MethodPost, "/zones", `{"name": "kept.test.", "kind": "Native", "rrsets": [
		{"name": "kept.test.", "type": "SOA", "ttl": 60, "records": [{"content": "ns.test. h.test. 1 60 60 60 60"}]},
		{"name": "word.kept.test.", "type": "TXT", "ttl": 60, "records": [{"content": "\"anchor\""}]}]}`)
	if status != http.StatusCreated {
		t.Fatalf("make a zone: %d %s", status, body)
	}
}

// word asks over DNS for what makeZone made.
func word(t *testing.T, p *PowerDNS, network string) string {
	t.Helper()
	client := dns.Client{Net: network}
	question := new(dns.Msg).SetQuestion("word.kept.test.", dns.TypeTXT)
	answer, _, err := client.ExchangeContext(t.Context(), question, net.JoinHostPort(p.Host(), strconv.Itoa(p.Port())))
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Answer) != 1 {
		t.Fatalf("answer over %s: %v", network, answer)
	}
	return answer.Answer[0].(*dns.TXT).Txt[0]
}

func TestPowerDNSKeepsData(t *testing.T) {
	for name, dir := range map[string]func(*testing.T) string{
		"folder that the server's user can get to": reachable,
		"folder below one of mode 0700":            func(t *testing.T) string { return t.TempDir() },
		"odd name":                                 func(t *testing.T) string { return filepath.Join(reachable(t), "it's a \"fôlder\" # % x") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(dir(t), "powerdns")
			first := runPowerDNS(t, Options{Dir: dir})
			makeZone(t, first)
			stopPowerDNS(t, first)
			if err, ok := <-first.Done(); ok {
				t.Fatalf("Done after Stop: %v", err)
			}
			second := runPowerDNS(t, Options{Dir: dir})
			if second.Port() != first.Port() || second.APIURL() != first.APIURL() || second.APIKey() != first.APIKey() {
				t.Error("the second start has another port or key")
			}
			for _, network := range []string{"udp", "tcp"} {
				if got := word(t, second, network); got != "anchor" {
					t.Errorf("over %s: %q", network, got)
				}
			}
		})
	}
}

func TestPowerDNSSurvives(t *testing.T) {
	p := runPowerDNS(t, Options{Dir: reachable(t)})
	makeZone(t, p)
	for _, c := range []struct {
		name string
		harm func()
	}{
		{"restart", func() {}},
		{"kill", p.Kill},
		{"kill twice", func() { p.Kill(); p.Kill() }},
		{"a crash", func() {
			_ = p.process.child.Kill() // as nobody here asked for
			if err := <-p.Done(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("Done: %v", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.harm()
			if err := p.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := word(t, p, "udp"); got != "anchor" {
				t.Errorf("data: %q", got)
			}
		})
	}
	stopPowerDNS(t, p)
	if err := p.Restart(t.Context()); err == nil {
		t.Error("restarted after Stop")
	}
}

func TestPowerDNSSettings(t *testing.T) {
	p := runPowerDNS(t, Options{Dir: reachable(t)})
	status, body := callPowerDNS(t, p, p.APIKey(), http.MethodGet, "/config", "")
	var settings []struct{ Name, Value string }
	if err := json.Unmarshal([]byte(body), &settings); err != nil {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	got := map[string]string{}
	want := map[string]string{
		"local-address": "127.0.0.1", "webserver-address": "127.0.0.1", "allow-axfr-ips": "", "allow-dnsupdate-from": "",
		"dnsupdate": "yes", "enable-lua-records": "no", "lua-dnsupdate-policy-script": "", "security-poll-suffix": "",
	}
	for _, s := range settings {
		if _, ok := want[s.Name]; ok {
			got[s.Name] = s.Value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if status, _ := callPowerDNS(t, p, "wrong", http.MethodGet, "/zones", ""); status != http.StatusUnauthorized {
		t.Errorf("the API answers %d to a wrong key", status)
	}
	for _, file := range []string{powerDNSConfigFile, apiKeyFile} {
		info, err := os.Stat(p.folder.path(file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	arguments, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.process.child.Pid), "cmdline"))
	if err != nil || strings.Contains(string(arguments), p.APIKey()) {
		t.Errorf("arguments of the server: %q, %v", arguments, err)
	}
}

func TestPowerDNSPortTaken(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.LocalAddr().(*net.UDPAddr).Port
	_, err = StartPowerDNS(t.Context(), Options{Dir: withPort(t, reachable(t), portFile, port)})
	if errors.Is(err, ErrNoPowerDNS) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err == nil || !strings.Contains(err.Error(), "port "+strconv.Itoa(port)) || !strings.Contains(err.Error(), "stop that process") {
		t.Errorf("error: %v", err)
	}
}

func TestPowerDNSStorage(t *testing.T) {
	for _, c := range []struct {
		name      string
		installed []powerDNSStorage
		hidden    bool
		want      powerDNSStorage
	}{
		{"both", []powerDNSStorage{sqlite, lmdb}, false, sqlite},
		{"both, hidden", []powerDNSStorage{sqlite, lmdb}, true, lmdb},
		{"lmdb", []powerDNSStorage{lmdb}, false, lmdb},
		{"sqlite, hidden", []powerDNSStorage{sqlite}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := powerDNSBinaries{storage: c.installed}.pick(c.hidden)
			if got != c.want || (err != nil) != (c.want == "") {
				t.Errorf("%q, %v", got, err)
			}
			if err != nil && !errors.Is(err, ErrNoPowerDNS) {
				t.Errorf("the error does not say what to install: %v", err)
			}
		})
	}
}
