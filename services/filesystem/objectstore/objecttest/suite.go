package objecttest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// Invalid are parameters that the schemas refuse.
func Invalid() servicetest.Invalid {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return servicetest.Invalid{
		Create: map[string]json.RawMessage{
			"a binding's parameter": raw(`{"role": "read_only"}`),
			"a name for the bucket": raw(`{"bucket": "mine"}`),
		},
		Bind: map[string]json.RawMessage{
			"an unknown role":      raw(`{"role": "admin"}`),
			"an empty role":        raw(`{"role": ""}`),
			"roles as a list":      raw(`{"role": ["read_only"]}`),
			"a role in upper case": raw(`{"role": "READ_ONLY"}`),
		},
	}
}

// ExpectCode fails t if the error is not the gateway's with this code.
func ExpectCode(t *testing.T, err error, code string) {
	t.Helper()
	if got := minio.ToErrorResponse(err).Code; got != code {
		t.Errorf("%v (%s), want %s", err, got, code)
	}
}

// KeepUntil reconciles until the condition begins like that, or is none: a bucket is counted
// only so often.
func KeepUntil(t *testing.T, use servicetest.Use, prefix string) {
	t.Helper()
	note := ""
	for range 3000 {
		note = use.Reconcile(t)
		if (prefix == "" && note == "") || (prefix != "" && strings.HasPrefix(note, prefix)) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("note: %q, want %q", note, prefix)
}

// HoldsBindings goes up to the limit; the backends' tests go over it.
func HoldsBindings(t *testing.T, use servicetest.Use) {
	for range 2 {
		if err := Dial(t, use.Bind(t, nil)).Ping(Context(t)); err != nil {
			t.Error(err)
		}
	}
}
