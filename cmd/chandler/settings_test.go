package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services/all"
)

func lookupIn(environment map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := environment[name]
		return v, ok
	}
}

func TestReadSettings(t *testing.T) {
	s, err := readSettings(lookupIn(map[string]string{
		"DATABASE_URL": "postgres://state", "PORT": "9000", "CHANDLER_ASYNC_WAIT": "1s", "CHANDLER_WORKERS": "4",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != ":9000" || s.AsyncWait != time.Second || s.SyncWait != 50*time.Second || s.Workers != 4 ||
		s.Retention != 72*time.Hour || s.CatalogPath != "catalog.yml" || s.LogFormat != "json" {
		t.Errorf("got %+v", s)
	}
	s, err = readSettings(lookupIn(map[string]string{"PORT": "9000", "CHANDLER_LISTEN": "127.0.0.1:1"}))
	if err != nil || s.Listen != "127.0.0.1:1" {
		t.Errorf("CHANDLER_LISTEN does not win over PORT: %q, %v", s.Listen, err)
	}
}

func TestReadSettingsFaults(t *testing.T) {
	for _, c := range []struct{ name, variable, value, want string }{
		{"no number", "CHANDLER_WORKERS", "many", "CHANDLER_WORKERS must be a whole number from 1 to 1000"},
		{"too few", "CHANDLER_WORKERS", "0", "CHANDLER_WORKERS must be a whole number from 1 to 1000"},
		{"no unit", "CHANDLER_ASYNC_WAIT", "3", "CHANDLER_ASYNC_WAIT must be a duration such as 10s"},
		{"longer than platforms wait", "CHANDLER_SYNC_WAIT", "60s", "CHANDLER_SYNC_WAIT must be a duration such as 10s, from 1s to 55s"},
		{"no port", "PORT", "abc", "PORT must be a whole number from 1 to 65535"},
		{"no such level", "CHANDLER_LOG_LEVEL", "loud", "CHANDLER_LOG_LEVEL must be info or debug"},
		{"no boolean", "CHANDLER_ANY_VERSION", "perhaps", "CHANDLER_ANY_VERSION must be true or false"},
		{"half a certificate", "CHANDLER_TLS_CERT", "cert.pem", "CHANDLER_TLS_CERT and CHANDLER_TLS_KEY go together"},
		{"half a user", "CHANDLER_USERNAME", "cf", "CHANDLER_USERNAME and CHANDLER_PASSWORD go together"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readSettings(lookupIn(map[string]string{c.variable: c.value}))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, ok := errors.AsType[usageError](err); !ok {
				t.Errorf("%T is no usage error", err)
			}
		})
	}
	_, err := readSettings(lookupIn(map[string]string{"CHANDLER_WORKERS": "x", "CHANDLER_KEEP_EVERY": "x"}))
	if err == nil || !strings.Contains(err.Error(), "CHANDLER_WORKERS") || !strings.Contains(err.Error(), "CHANDLER_KEEP_EVERY") {
		t.Errorf("not all faults are reported together: %v", err)
	}
}

// Every variable that is read is documented in the help, and the reverse.
func TestEnvironmentIsDocumented(t *testing.T) {
	read := map[string]bool{}
	_, err := readSettings(func(name string) (string, bool) {
		read[name] = true
		return "", false
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = sealedKeys(func(name string) (string, bool) {
		read[name] = true
		return "", false
	})
	_, _ = catalog.Parse("catalog.yml", []byte(filteredCatalog), all.Definitions(), func(name string) (string, bool) {
		read[name] = strings.HasPrefix(name, catalog.BackupVariables)
		return "x", true
	})
	for name := range read {
		if read[name] && !strings.Contains(environment, name) {
			t.Errorf("%s is read and not documented", name)
		}
	}
	for _, word := range strings.FieldsFunc(environment, func(r rune) bool { return !('A' <= r && r <= 'Z') && r != '_' }) {
		if strings.HasPrefix(word, "CHANDLER_") && !read[word] {
			t.Errorf("%s is documented and not read", word)
		}
	}
}
