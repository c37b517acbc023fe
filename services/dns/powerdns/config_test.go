package powerdns

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestConfig(t *testing.T) {
	base := map[string]any{"url": "http://127.0.0.1:8081", "api_key": "k", "host": "ns1.example.net", "nameservers": []string{"ns1.example.net"}}
	for _, test := range []struct {
		name, key string
		value     any
		want      string
	}{
		{"as in the README", "port", 53, ""},
		{"https, an IPv6 address", "url", "https://[2001:db8::1]:8443/", ""},
		{"https without a port", "url", "https://dns.example.net", ""},
		{"no url", "url", "", "url: "},
		{"another scheme", "url", "postgres://127.0.0.1", "url: "},
		{"a password", "url", "http://user:pass@127.0.0.1:8081", "url: "},
		{"a path", "url", "http://127.0.0.1:8081/api/v1", "url: "},
		{"a broken url", "url", "http://127.0.0.1:port", "url: "},
		{"no key", "api_key", "", "api_key: "},
		{"no host", "host", "", "host: "},
		{"a host with a space", "host", "a b", "host: "},
		{"an address as host", "host", "2001:db8::1", ""},
		{"port 0", "port", 0, "port: "},
		{"no name server", "nameservers", []string{}, "nameservers: "},
		{"a name server twice", "nameservers", []string{"a.test", "a.test"}, "nameservers: "},
		{"an invalid name server", "nameservers", []string{"."}, "nameservers: "},
		{"a hostmaster", "hostmaster", "dns@example.net", ""},
		{"a hostmaster without a host", "hostmaster", "dns", "hostmaster: "},
		{"a hostmaster with a dot", "hostmaster", "a.b@example.net", "hostmaster: "},
		{"primary", "kind", "primary", ""},
		{"secondary", "kind", "secondary", "kind: "},
		{"SHA-512", "tsig_algorithm", "hmac-sha512", ""},
		{"MD5", "tsig_algorithm", "hmac-md5", "tsig_algorithm: "},
		{"a long prefix", "prefix", "abcdefghi", "prefix: "},
		{"a server's id with a slash", "server_id", "a/b", "server_id: "},
		{"an invalid certificate", "ca", "hello", "ca: "},
		{"an unknown key", "zone", "x", "zone: no such key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := map[string]any{test.key: test.value}
			for k, v := range base {
				if k != test.key {
					config[k] = v
				}
			}
			text, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Definition().DecodeConfig(text)
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error: %v, want %q", err, test.want)
			}
			if err == nil { // the library must not end the process over it
				if d, err := servicetest.Open(testContext(t), Definition(), text); err != nil || d.Close() != nil {
					t.Errorf("open: %v", err)
				}
			}
		})
	}
}

func TestConfigCAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	config := Config{URL: "https://127.0.0.1", CAFile: file, ServerID: "localhost", APIKey: services.NewSecret("k")}
	for _, content := range []string{"", "hello"} {
		if content != "" {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := open(context.Background(), config); err == nil || !strings.HasPrefix(err.Error(), "ca_file: ") {
			t.Errorf("error: %v", err)
		}
	}
}

func TestPlan(t *testing.T) {
	for _, test := range []struct{ name, plan, want string }{
		{"the least", `{"parents": ["apps.example.com"]}`, ""},
		{"all", `{"parents": ["a.test.", "B.test"], "reserved": ["www"], "records": 10, "min_ttl": 1, "default_ttl": 5, "dnssec": true}`, ""},
		{"no parent", `{}`, "parents: "},
		{"the root", `{"parents": ["."]}`, "parents: "},
		{"a parent twice", `{"parents": ["a.test", "A.test."]}`, "twice"},
		{"a long parent", `{"parents": ["` + strings.Repeat("abcdefghi.", 16) + `test"]}`, "parents: "},
		{"a reserved name of two labels", `{"parents": ["a.test"], "reserved": ["a.b"]}`, "reserved: "},
		{"no records", `{"parents": ["a.test"], "records": 0}`, "records: "},
		{"no time to live", `{"parents": ["a.test"], "min_ttl": 0}`, "min_ttl: "},
		{"a default below the least", `{"parents": ["a.test"], "min_ttl": 600, "default_ttl": 300}`, "default_ttl: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Definition().DecodePlan(raw(test.plan))
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error: %v, want %q", err, test.want)
			}
		})
	}
}
