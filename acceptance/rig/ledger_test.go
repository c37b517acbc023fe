package rig_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

func TestFinder(t *testing.T) {
	var ledger rig.Ledger
	ledger.Add("token", "s.0123456789abcdef/+")
	if err := ledger.AddURL("url", "postgres://user:p%20ssw0rd!@host/db"); err != nil {
		t.Fatal(err)
	}
	if err := ledger.AddCredentials("b", map[string]any{"password": "ABCDEFGHIJ", "uri": "postgres://u:KLMNOPQRST@h/d"}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 100_000)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", long, nil},
		{"half of it", "s.0123456789", nil},
		{"plain", long + "s.0123456789abcdef/+" + long, []string{"token"}},
		{"at the end", "s.0123456789abcdef/+", []string{"token"}},
		{"percent-encoded", "?t=s.0123456789abcdef%2F%2B", []string{"token, percent-encoded"}},
		{"base64", base64.StdEncoding.EncodeToString([]byte("s.0123456789abcdef/+")), []string{"token, in base64"}},
		{"hexadecimal", `\x4142434445464748494a`, []string{"password of b, in hexadecimal"}},
		{"of a URL", "p ssw0rd!", []string{"url"}},
		{"two", "KLMNOPQRST ABCDEFGHIJ ABCDEFGHIJ", []string{"password in the uri of b", "password of b"}},
	}
	finder := ledger.Finder()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, finder.Find(test.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if ledger.Len() != 4 {
		t.Errorf("%d secrets", ledger.Len())
	}
}
