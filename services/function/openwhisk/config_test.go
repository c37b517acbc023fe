package openwhisk

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

func TestConfig(t *testing.T) {
	const (
		url     = `"admin_url": "https://functions:3234"`
		admin   = url + `, "token": "hunter2"`
		badURL  = "admin_url: must be http://host:port or https://host:port, without a user, a path or options; separate several with commas"
		badHost = "api_host: must be http://host:port or https://host:port, without a user, a path or options"
	)
	tests := []struct{ name, config, fault string }{
		{"all is well", `{` + admin + `, "api_host": "https://functions.example.com"}`, ""},
		{"a certificate", `{` + url + `, "certificate_file": "c", "key_file": "k", "api_host": "http://127.0.0.1:3233"}`, ""},
		{"several runtimes", `{"admin_url": "http://a:3234, http://b:3234/", "token": "hunter2", "api_host": "http://h"}`, ""},
		{"nothing", `{}`, badURL + "\ntoken: is missing; give one of the runtimes' FUNCTIONS_ADMIN_TOKEN, or a client certificate (certificate_file, key_file)\n" + badHost},
		{"a user of the API", `{"admin_url": "http://u:hunter2@h:1", "token": "hunter2", "api_host": "http://h"}`, badURL},
		{"half a certificate", `{` + admin + `, "key_file": "k", "api_host": "http://h"}`, "key_file: must be given together with certificate_file"},
		{"the former database", `{` + admin + `, "database_url": "postgres://u:hunter2@h/d", "api_host": "http://h"}`, "database_url: no such key"},
		{"a path", `{` + admin + `, "api_host": "http://h/api/v1"}`, badHost},
		{"a user", `{` + admin + `, "api_host": "http://u:hunter2@h"}`, badHost},
		{"no scheme", `{` + admin + `, "api_host": "functions.example.com"}`, badHost},
		{"a bad port", `{` + admin + `, "api_host": "http://h:70000"}`, "api_host: has an invalid port; ports are numbers from 1 to 65535"},
		{"no certificate", `{` + admin + `, "api_host": "https://h", "ca": "x"}`, "ca: is not a certificate in PEM"},
		{"two authorities", `{` + admin + `, "api_host": "https://h", "ca": "x", "ca_file": "y"}`, "ca_file: cannot be given together with ca\nca: is not a certificate in PEM"},
		{"an unknown key", `{"databse_url": "hunter2"}`, "databse_url: no such key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if _, err := Definition().DecodeConfig([]byte(test.config)); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.fault, got); diff != "" || strings.Contains(got, "hunter2") {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Applications get the host as the operator wrote it, and the scheme's port.
func TestHostOfAPI(t *testing.T) {
	for text, want := range map[string][]any{
		"https://functions.example.com": {"https://functions.example.com", "functions.example.com", 443.},
		"http://functions.example.com/": {"http://functions.example.com", "functions.example.com", 80.},
		"http://[::1]:3233":             {"http://[::1]:3233", "::1", 3233.},
	} {
		b, err := open(t.Context(), Config{AdminURL: "http://h", Token: services.NewSecret("t"), APIHost: text})
		if err != nil {
			t.Fatal(err)
		}
		values := b.credentials("n", accessKey{}).Values
		if diff := cmp.Diff(want, []any{values["api_host"], values["host"], values["port"]}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// A file that holds no certificate is reported at the start.
func TestAuthorityOfFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	open := func() error {
		b, err := open(t.Context(), Config{AdminURL: "http://h", Token: services.NewSecret("t"), APIHost: "https://h", CAFile: file})
		if err == nil {
			_ = b.Close() // nothing is open
		}
		return err
	}
	if err := open(); err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(); err == nil || err.Error() != "ca_file: "+file+" is not a certificate in PEM" {
		t.Errorf("a file without certificates: %v", err)
	}
}

// Faults of a plan are found when the catalog is read.
func TestPlan(t *testing.T) {
	tests := []struct{ name, plan, fault string }{
		{"nothing", `{}`, ""},
		{"the least", `{"label": "l", "memory": "16MB", "timeout": "100ms", "logs": "1MB", "code": "1kB", "payload": "1kB", "concurrency": 1, "triggers": 0, "retention": "1m", "activation_storage": "1MB", "dead_letters": 0}`, ""},
		{"a label with a blank", `{"label": "a b"}`, "label: must be 1 to 64 of A-Z, a-z, 0-9 and ._- and begin with a letter or digit"},
		{"memory in kB", `{"memory": "262145kB"}`, "memory: must be a whole number and kB, MB, GB or TB, such as \"500MB\", whole megabytes from 16MB to 512MB"},
		{"memory above OpenWhisk's", `{"memory": "1GB"}`, "memory: must be a whole number and kB, MB, GB or TB, such as \"500MB\", whole megabytes from 16MB to 512MB"},
		{"an invalid time", `{"timeout": "soon"}`, "timeout: must be a time of whole milliseconds, such as \"30s\" or \"5m\", from 100ms to 5m"},
		{"logs", `{"logs": "11MB"}`, "logs: must be a whole number and kB, MB, GB or TB, such as \"500MB\", whole megabytes from 1MB to 10MB"},
		{"code", `{"code": "49MB"}`, "code: must be a whole number and kB, MB, GB or TB, such as \"500MB\", from 1kB to 48MB"},
		{"payload", `{"payload": 5}`, "payload: must be a whole number and kB, MB, GB or TB, such as \"500MB\", from 1kB to 1MB"},
		{"retention", `{"retention": "1s"}`, "retention: must be a time of whole milliseconds, such as \"30s\" or \"5m\", from 1m to 8760h"},
		{"storage", `{"activation_storage": "1kB"}`, "activation_storage: must be a whole number and kB, MB, GB or TB, such as \"500MB\", from 1MB to 100GB"},
		{"counts", `{"concurrency": 0, "actions": -1, "message_attempts": 101}`, "concurrency: must be from 1 to 1000\nactions: must be from 1 to 10000\nmessage_attempts: must be from 1 to 100"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if _, err := Definition().DecodePlan([]byte(test.plan)); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.fault, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Every key of a plan becomes a limit.
func TestPlanBecomesLimits(t *testing.T) {
	p, err := services.Decode[Plan]([]byte(`{
		"label": "l", "memory": "32MB", "timeout": "2s", "logs": "3MB", "code": "4MB", "payload": "5kB",
		"concurrency": 6, "invocations_per_minute": 7, "fires_per_minute": 8, "sequence_length": 9,
		"actions": 10, "triggers": 11, "rules": 12, "packages": 13, "retention": "14m", "activation_storage": "15MB",
		"message_attempts": 16, "dead_letters": 17
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"actions":10,"activation_bytes":15728640,"code_bytes":4194304,"concurrency":6,"dead_letters":17,"fires_per_minute":8,` +
		`"invocations_per_minute":7,"log_bytes":3145728,"memory_bytes":33554432,"message_attempts":16,"packages":13,"payload_bytes":5120,` +
		`"plan":"l","retention_s":840,"rules":12,"sequence_length":9,"timeout_ms":2000,"triggers":11}`
	got, err := json.Marshal(p.limits())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
