package designate

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestConfig(t *testing.T) {
	base := map[string]any{"auth_url": "https://cloud.example.com:5000/v3", "domain": "chandler", "username": "chandler", "password": "p"}
	for _, test := range []struct {
		name, key string
		value     any
		want      string
	}{
		{"as in the README", "region", "RegionOne", ""},
		{"no auth_url", "auth_url", "", "auth_url: "},
		{"an auth_url without the version", "auth_url", "https://cloud.example.com:5000", "auth_url: "},
		{"another version", "auth_url", "https://cloud.example.com:5000/v2.0", "auth_url: "},
		{"another scheme", "auth_url", "ldap://cloud.example.com/v3", "auth_url: "},
		{"a password in the auth_url", "auth_url", "https://a:b@cloud.example.com/v3", "auth_url: "},
		{"an auth_url below a path", "auth_url", "https://cloud.example.com/identity/v3/", ""},
		{"another address for applications", "public_auth_url", "https://public.example.com/v3", ""},
		{"an invalid one", "public_auth_url", "public.example.com", "public_auth_url: "},
		{"no domain", "domain", "", "domain: "},
		{"no username", "username", "", "username: "},
		{"no password", "password", "", "password: "},
		{"an unknown interface", "interface", "private", "interface: "},
		{"an endpoint", "endpoint", "http://127.0.0.1:9001", ""},
		{"an invalid endpoint", "endpoint", "127.0.0.1:9001", "endpoint: "},
		{"no role", "member_role", "", "member_role: "},
		{"a long prefix", "prefix", "abcdefghi", "prefix: "},
		{"a host", "host", "ns1.example.net", ""},
		{"an address as host", "host", "2001:db8::1", ""},
		{"a host with a space", "host", "a b", "host: "},
		{"port 0", "port", 0, "port: "},
		{"a hostmaster with a dot", "hostmaster", "a.b@example.net", "hostmaster: "},
		{"no cache", "token_cache_time", -1, ""},
		{"an invalid cache time", "token_cache_time", -2, "token_cache_time: "},
		{"an invalid certificate", "ca", "hello", "ca: "},
		{"an unknown key", "zone", "x", "zone: no such key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := maps.Clone(base)
			config[test.key] = test.value
			text, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Definition().DecodeConfig(text)
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error: %v, want %q", err, test.want)
			}
			if err == nil {
				if d, err := servicetest.Open(testContext(t), Definition(), text); err != nil || d.Close() != nil {
					t.Errorf("open: %v", err)
				}
			}
		})
	}
}

func TestPlan(t *testing.T) {
	for _, test := range []struct{ name, plan, want string }{
		{"the least", `{"parents": ["apps.example.com"]}`, ""},
		{"no parent", `{}`, "parents: "},
		{"no records", `{"parents": ["a.test"], "records": 0}`, "records: "},
		{"what Designate lacks", `{"parents": ["a.test"], "dnssec": true}`, "dnssec: no such key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Definition().DecodePlan(raw(test.plan))
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error: %v, want %q", err, test.want)
			}
		})
	}
}

// Values survive the way to Designate and back, in the form of zone files.
func TestValues(t *testing.T) {
	for _, test := range []struct{ kind, value string }{
		{"A", "192.0.2.1"},
		{"CAA", `0 issue "letsencrypt.org"`},
		{"CAA", `0 iodef "mailto:a@example.org"`},
		{"TXT", `""`},
		{"TXT", `"a \"quoted\" \\ text"`},
		{"TXT", `"` + strings.Repeat("x", 255) + `"`},
		{"TXT", `"` + strings.Repeat("x", 255) + `" "` + strings.Repeat("y", 255) + `" "z"`},
		{"TXT", `"` + strings.Repeat(`\"`, 200) + `"`},
		{"TXT", `"` + strings.Repeat(`\195\188`, 100) + `"`},
	} {
		stored := toDesignate(test.kind, test.value)
		if got := fromDesignate(test.kind, stored); got != test.value {
			t.Errorf("%s %s: stored as %s, and read as %s", test.kind, test.value, stored, got)
		}
		if test.kind != "TXT" || len(stored) <= maxString {
			continue
		}
		for part := range strings.SplitSeq(stored, " ") {
			if len(part) > maxString {
				t.Errorf("a string of %d characters", len(part))
			}
		}
	}
}
