package sealed_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/credhub/sealed"
)

func TestParseKeys(t *testing.T) {
	one, two := sealed.GenerateKey(), sealed.GenerateKey()
	short := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 31))
	for name, c := range map[string]struct {
		text  string
		ids   []string
		fault string
	}{
		"one":                     {one, keys(t, one).IDs(), ""},
		"several, in their order": {two + "\n" + one, append(keys(t, two).IDs(), keys(t, one).IDs()...), ""},
		"white space around":      {"\n  " + one + "\t\r\n\n" + two + "\n", append(keys(t, one).IDs(), keys(t, two).IDs()...), ""},
		"nothing":                 {"", nil, "there are none"},
		"empty lines":             {"\n \n", nil, "there are none"},
		"too short":               {one + "\n" + short, nil, "line 2: 31 bytes instead of 32"},
		"not base64":              {"correct-horse-battery-staple", nil, "line 1: not base64"},
		"twice":                   {one + "\n\n" + one, nil, "line 3: the same key"},
		"a line without an end":   {strings.Repeat("A", 1<<20), nil, "line 1: 786432 bytes instead of 32"},
		"two faults, the first":   {short + "\n?", nil, "line 1: 31 bytes"},
		"two faults, the second":  {short + "\n?", nil, "line 2: not base64"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := sealed.ParseKeys([]byte(c.text))
			if c.fault == "" {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.ids, got.IDs()); diff != "" {
					t.Error(diff)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Fatalf("got %v, want %q", err, c.fault)
			}
			if strings.Contains(err.Error(), "staple") || strings.Contains(err.Error(), one) || strings.Contains(err.Error(), short) {
				t.Errorf("the error quotes a line: %v", err)
			}
		})
	}
}

func TestKeysArePrintedAsIdentifiers(t *testing.T) {
	line := sealed.GenerateKey()
	k := keys(t, line)
	raw, err := base64.StdEncoding.DecodeString(line)
	if err != nil || len(raw) != 32 {
		t.Fatalf("a generated key has %d bytes, want 32: %v", len(raw), err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("keys", "keys", k)
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), fmt.Sprintf("%x", k), log.String()} {
		if !strings.Contains(text, k.IDs()[0]) {
			t.Errorf("%q does not contain the key's identifier", text)
		}
		if strings.Contains(text, line) || strings.Contains(text, fmt.Sprintf("%x", raw)) || strings.Contains(text, fmt.Sprint(raw)) {
			t.Errorf("%q contains the key", text)
		}
	}
	if id := k.IDs()[0]; len(id) != 16 || strings.Contains(fmt.Sprintf("%x", raw), id) {
		t.Errorf("the identifier %q is not 16 digits, or is part of the key", id)
	}
}

func TestOpenWithoutKeys(t *testing.T) {
	if _, err := sealed.Open(t.Context(), database(t), sealed.Keys{}); err == nil || !strings.Contains(err.Error(), "no sealing key") {
		t.Errorf("Open: %v", err)
	}
}
