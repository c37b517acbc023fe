package rig

import (
	"strings"
	"testing"
)

func TestPostgresCatalog(t *testing.T) {
	text, err := PostgresCatalog()
	if err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []string{"postgres-small", "postgres-medium", "# "} {
		if !strings.Contains(string(text), wanted) {
			t.Errorf("%q is missing", wanted)
		}
	}
	for _, cut := range []string{"type: database/mysql", "nats-small", "name: dns"} {
		if strings.Contains(string(text), cut) {
			t.Errorf("%q is still there", cut)
		}
	}
}
