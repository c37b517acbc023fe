package s3

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) { runSuite(t, newServer(t), measuredLimits(), false) }

func runSuite(t *testing.T, server *testServer, limits []servicetest.Limit, withoutCrashes bool) {
	t.Helper()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	servicetest.Run(t, servicetest.Suite{
		Definition: Definition(), Again: withoutCrashes,
		Address:   server.address(),
		Config:    func(address string) json.RawMessage { return server.config("suite", address) },
		Secrets:   []string{server.SecretAccessKey()},
		Plan:      raw(`{"storage": "100MB", "objects": 1000, "bindings": 10, "delete_contents": true}`),
		OtherPlan: raw(`{"storage": "1GB", "delete_contents": true}`),
		Create:    []json.RawMessage{raw(`{}`)},
		Bind:      []json.RawMessage{raw(`{}`)},
		BindSame:  []json.RawMessage{raw(`{"role": "read_write"}`)},
		Invalid: servicetest.Invalid{
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
		},
		ReadOnly: raw(`{"role": "read_only"}`),
		Reach:    func(t *testing.T, mine, theirs map[string]any) { reach(t, server, mine, theirs) },
		Limits:   append(limits, servicetest.Limit{Name: "bindings", Plan: raw(`{"bindings": 2}`), Holds: holdsBindings}),
		Left:     server.leftOf,
	})
}

func measuredLimits() []servicetest.Limit {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return []servicetest.Limit{
		{Name: "storage", Plan: raw(`{"storage": "1MB", "delete_contents": true}`), Holds: holdsStorage},
		{Name: "objects", Plan: raw(`{"objects": 3, "delete_contents": true}`), Holds: holdsObjects},
	}
}

// keepUntil keeps until the note is one that is wanted: a bucket is counted only
// so often.
func keepUntil(t *testing.T, use servicetest.Use, prefix string) {
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

func holdsStorage(t *testing.T, use servicetest.Use) {
	credentials := use.Bind(t, nil)
	s := dialled(t, credentials)
	big := strings.Repeat("x", 700_000)
	s.mustPut(t, "one", big)
	s.mustPut(t, "two", big)
	keepUntil(t, use, "storage: ")
	expect(t, s.put(t, "three", "x"), "Access Denied")
	expect(t, s.put(t, "one", "x"), "Access Denied")
	late := dialled(t, use.Bind(t, nil))
	expect(t, late.put(t, "three", "x"), "Access Denied")
	if _, err := s.Read(testContext(t), "one"); err != nil {
		t.Errorf("read from a full bucket: %v", err)
	}
	if err := s.client.RemoveObject(testContext(t), s.bucket, "two", minio.RemoveObjectOptions{}); err != nil {
		t.Errorf("delete from a full bucket: %v", err)
	}
	keepUntil(t, use, "")
	s.mustPut(t, "three", "x")
	late.mustPut(t, "four", "x")
}

func holdsObjects(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	for _, key := range []string{"1", "2", "a/3", "a/4"} {
		s.mustPut(t, key, "")
	}
	keepUntil(t, use, "objects: 4 of 3;")
	// Not an empty one: minio-go sends that in chunks, which the gateway does
	// not wait for when it refuses.
	expect(t, s.put(t, "5", "x"), "Access Denied")
	for _, key := range []string{"1", "2"} {
		if err := s.client.RemoveObject(testContext(t), s.bucket, key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	keepUntil(t, use, "")
	s.mustPut(t, "5", "")
	if err := s.client.RemoveObject(testContext(t), s.bucket, "5", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a/3", "a/4"} {
		if err := s.client.RemoveObject(testContext(t), s.bucket, key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// holdsBindings goes up to the limit; TestBindings goes over it.
func holdsBindings(t *testing.T, use servicetest.Use) {
	for range 2 {
		if err := dialled(t, use.Bind(t, nil)).Ping(testContext(t)); err != nil {
			t.Error(err)
		}
	}
}
