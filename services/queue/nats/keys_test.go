package nats

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestGoldenAccountKey(t *testing.T) {
	seed := operatorSeed(t, 1)
	k, err := (&Config{OperatorSeed: seed, Prefix: "chandler"}).keyring()
	if err != nil {
		t.Fatal(err)
	}
	// Another key for an instance that exists would lose the instance.
	got, err := k.account(services.InstanceName("the same for ever"))
	if want := "AAPIX62W52OTVN7CTDB7PSKTOZFWFGST5N4SY7IU4P5JWTIWCKFTUIEV"; got != want || err != nil {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func operatorSeed(t *testing.T, n byte) services.Secret {
	t.Helper()
	raw := make([]byte, services.SeedSize)
	raw[0] = n
	pair, err := nkeys.FromRawSeed(nkeys.PrefixByteOperator, raw)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return services.NewSecret(string(seed))
}

// Accounts' keys follow the root, so that the operator's key can be replaced;
// and brokers that share an operator have different ones.
func TestAccountKeys(t *testing.T) {
	one, two := operatorSeed(t, 1), operatorSeed(t, 2)
	account := func(c Config) string {
		t.Helper()
		k, err := c.keyring()
		if err != nil {
			t.Fatal(err)
		}
		public, err := k.account("instance")
		if err != nil {
			t.Fatal(err)
		}
		return public
	}
	original := account(Config{OperatorSeed: one, Prefix: "a"})
	for _, test := range []struct {
		name   string
		config Config
		same   bool
	}{
		{"the same", Config{OperatorSeed: one, Prefix: "a"}, true},
		{"another operator's key and the old root", Config{OperatorSeed: two, AccountRoot: one, Prefix: "a"}, true},
		{"another operator's key", Config{OperatorSeed: two, Prefix: "a"}, false},
		{"another prefix", Config{OperatorSeed: one, Prefix: "b"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if same := account(test.config) == original; same != test.same {
				t.Errorf("the same key: %t", same)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	complete := map[string]any{"url": "nats://a", "operator_seed": server.operator, "system_creds": server.creds}
	for _, test := range []struct {
		name   string
		change map[string]any
		words  []string // of the error; nil: none
	}{
		{"complete", nil, nil},
		{"all keys", map[string]any{"url": "tls://a:1, tls://b", "servers": "tls://c:2", "account_root": strings.Repeat("r", 32), "prefix": "p1"}, nil},
		{"files", map[string]any{"operator_seed": "", "operator_seed_file": server.OperatorSeedFile(), "system_creds": "", "system_creds_file": server.SystemCredsFile()}, nil},
		{"nothing", map[string]any{"url": "", "operator_seed": "", "system_creds": ""}, []string{"url: must be", "operator_seed: is missing", "system_creds: is missing"}},
		{"both", map[string]any{"operator_seed_file": "x", "system_creds_file": "x"}, []string{"operator_seed_file: cannot be given together", "system_creds_file: cannot"}},
		{"a user in the url", map[string]any{"url": "nats://u:secret@a"}, []string{"url: must be"}},
		{"another scheme", map[string]any{"url": "http://a"}, []string{"url: must be"}},
		{"a path", map[string]any{"url": "nats://a/b"}, []string{"url: must be"}},
		{"an invalid port", map[string]any{"servers": "nats://a:99999"}, []string{"servers: has an invalid port"}},
		{"an account's seed", map[string]any{"operator_seed": seedOf(t, nkeys.PrefixByteAccount)}, []string{"operator_seed: is the seed of another kind"}},
		{"a public key", map[string]any{"operator_seed": "OABC"}, []string{"operator_seed: is not the seed"}},
		{"a seed for credentials", map[string]any{"system_creds": server.operator}, []string{"system_creds: is not the text of a credentials file"}},
		{"a short root", map[string]any{"account_root": "short"}, []string{"account_root: must have 32"}},
		{"no certificate", map[string]any{"ca": "x"}, []string{"ca: is not a certificate"}},
		{"a bad prefix", map[string]any{"prefix": "A b"}, []string{"prefix: must be"}},
		{"an unknown key", map[string]any{"operator": "x"}, []string{"operator: no such key"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := map[string]any{}
			for _, part := range []map[string]any{complete, test.change} {
				for k, v := range part {
					config[k] = v
				}
			}
			raw, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Definition().DecodeConfig(raw)
			if test.words == nil && err != nil {
				t.Error(err)
			}
			for _, words := range test.words {
				expect(t, err, words)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), server.operator)) {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

func seedOf(t *testing.T, prefix nkeys.PrefixByte) string {
	t.Helper()
	pair, err := nkeys.CreatePair(prefix)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return string(seed)
}

// A file that cannot be used is found when the backend opens.
func TestOpenReadsFiles(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for key, words := range map[string]string{
		"operator_seed": "operator_seed: is not the seed",
		"system_creds":  "system_creds: is not the text",
		"ca":            "ca_file: " + empty + " is not a certificate",
	} {
		for file, words := range map[string]string{empty: words, empty + "not": key + "_file: open"} {
			config := map[string]any{
				"url": "nats://a", "operator_seed_file": server.OperatorSeedFile(), "system_creds_file": server.SystemCredsFile(),
				key + "_file": file,
			}
			raw, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = servicetest.Open(t.Context(), Definition(), raw)
			expect(t, err, words)
		}
	}
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name  string
		plan  string
		words string
	}{
		{"nothing said", `{}`, ""},
		{"all", `{"storage": "1GB", "memory": "64MB", "streams": 1, "consumers": 1, "connections": 1, "subscriptions": 1, "payload": "64MB"}`, ""},
		{"a number for a size", `{"storage": 1024}`, "storage: must be"},
		{"too little storage", `{"storage": "512kB"}`, "storage: must be"},
		{"too much", `{"storage": "9999999TB"}`, "storage: must be"},
		{"memory", `{"memory": "1kB"}`, "memory: must be"},
		{"payload", `{"payload": "65MB"}`, "payload: must be"},
		{"no connections", `{"connections": 0}`, "connections: must be from 1"},
		{"endless streams", `{"streams": -1}`, "streams: must be from 1"},
		{"consumers", `{"consumers": 10000000}`, "consumers: must be from 1"},
		{"subscriptions", `{"subscriptions": 0}`, "subscriptions: must be from 1"},
		{"a key that is none", `{"replicas": 3}`, "replicas: no such key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Definition().DecodePlan(json.RawMessage(test.plan))
			if test.words != "" {
				expect(t, err, test.words)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
