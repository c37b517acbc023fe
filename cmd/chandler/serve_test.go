package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/server"
)

// At three in the morning nobody wants to fix one variable, start, and learn of the
// next.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.yml")
	for _, c := range []struct {
		name, catalog string
		environment   map[string]string
		want          []string
	}{
		{
			name: "nothing is wrong", catalog: "services: []\n",
			environment: map[string]string{
				"DATABASE_URL": "postgres://127.0.0.1/state", "CHANDLER_USERNAME": "cf", "CHANDLER_PASSWORD": "a-password",
				"VAULT_ADDR": "", "CHANDLER_SEALED_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
			},
		},
		{
			name: "everything is missing", catalog: "services: []\n",
			want: []string{"DATABASE_URL is not set", "no credential store", "no platform is configured"},
		},
		{
			name: "everything is wrong", catalog: "servces: []\n",
			environment: map[string]string{
				"VAULT_ADDR": "http://127.0.0.1", "VAULT_AUTH_METHOD": "oracle", "CHANDLER_TLS_CERT": "/none.pem", "CHANDLER_TLS_KEY": "/none.key",
			},
			want: []string{"servces", "DATABASE_URL is not set", "VAULT_AUTH_METHOD", "CHANDLER_TLS_CERT, CHANDLER_TLS_KEY: "},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.catalog), 0o600); err != nil {
				t.Fatal(err)
			}
			environment := map[string]string{"CHANDLER_CATALOG": path}
			for name, value := range c.environment {
				environment[name] = value
			}
			s, err := readSettings(lookupIn(environment))
			if err != nil {
				t.Fatal(err)
			}
			err = server.Check(s.Settings)
			if err == nil && c.want == nil {
				return
			}
			if !isUsage(err) || c.want == nil {
				t.Fatalf("got %v, want a usage error about %q", err, c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not told: %v", want, err)
				}
			}
		})
	}
}
