package s3

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) { runSuite(t, newServer(t), measuredLimits(), false) }

func runSuite(t *testing.T, server *testServer, limits []servicetest.Limit, hard bool) {
	t.Helper()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	plan, updates := `"bindings": 10`, []json.RawMessage(nil)
	if hard {
		plan, updates = `"bindings": 10, "snapshots": 3`, []json.RawMessage{raw(`{"snapshot": {"name": "first"}}`), raw(`{"remove_snapshot": {"name": "first"}}`)}
	}
	servicetest.Run(t, servicetest.Suite{
		Definition: Definition(), Again: hard,
		Address:   server.address(),
		Config:    func(address string) json.RawMessage { return server.config("suite", address) },
		Secrets:   []string{server.SecretAccessKey()},
		Plan:      raw(`{"storage": "100MB", "objects": 1000, ` + plan + `, "delete_contents": true}`),
		OtherPlan: raw(`{"storage": "1GB", "snapshots": 0, "delete_contents": true}`),
		Create:    []json.RawMessage{raw(`{}`)},
		Update:    updates,
		Bind:      []json.RawMessage{raw(`{}`)},
		BindSame:  []json.RawMessage{raw(`{"role": "read_write"}`)},
		Invalid:   objecttest.Invalid(),
		ReadOnly:  raw(`{"role": "read_only"}`),
		Reach:     func(t *testing.T, mine, theirs map[string]any) { reach(t, server, mine, theirs) },
		Limits:    append(limits, servicetest.Limit{Name: "bindings", Plan: raw(`{"bindings": 2}`), Holds: objecttest.HoldsBindings}),
		Fill:      objecttest.Fill(fillKeys()),
		Change:    objecttest.Change,
		Left:      server.leftOf,
	})
}

// fillKeys are odd keys that the gateway stores, whose files are in one folder without conflict.
func fillKeys() []string {
	return slices.DeleteFunc(objecttest.OddKeys(), func(key string) bool { return key == "a/b" })
}

func measuredLimits() []servicetest.Limit {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return []servicetest.Limit{
		{Name: "storage", Plan: raw(`{"storage": "1MB", "delete_contents": true}`), Holds: holdsStorage},
		{Name: "objects", Plan: raw(`{"objects": 3, "delete_contents": true}`), Holds: holdsObjects},
	}
}

func holdsStorage(t *testing.T, use servicetest.Use) {
	credentials := use.Bind(t, nil)
	s := objecttest.Dial(t, credentials)
	big := strings.Repeat("x", 700_000)
	s.MustPut(t, "one", big)
	s.MustPut(t, "two", big)
	objecttest.KeepUntil(t, use, "storage: ")
	objecttest.Expect(t, s.Put(t, "three", "x"), "Access Denied")
	objecttest.Expect(t, s.Put(t, "one", "x"), "Access Denied")
	late := objecttest.Dial(t, use.Bind(t, nil))
	objecttest.Expect(t, late.Put(t, "three", "x"), "Access Denied")
	if _, err := s.Read(objecttest.Context(t), "one"); err != nil {
		t.Errorf("read from a full bucket: %v", err)
	}
	if err := s.Client.RemoveObject(objecttest.Context(t), s.Bucket, "two", minio.RemoveObjectOptions{}); err != nil {
		t.Errorf("delete from a full bucket: %v", err)
	}
	objecttest.KeepUntil(t, use, "")
	s.MustPut(t, "three", "x")
	late.MustPut(t, "four", "x")
}

func holdsObjects(t *testing.T, use servicetest.Use) {
	s := objecttest.Dial(t, use.Bind(t, nil))
	for _, key := range []string{"1", "2", "a/3", "a/4"} {
		s.MustPut(t, key, "")
	}
	objecttest.KeepUntil(t, use, "objects: 4 of 3;")
	// Not an empty one: minio-go sends that in chunks, which the gateway does
	// not wait for when it refuses.
	objecttest.Expect(t, s.Put(t, "5", "x"), "Access Denied")
	for _, key := range []string{"1", "2"} {
		if err := s.Client.RemoveObject(objecttest.Context(t), s.Bucket, key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	objecttest.KeepUntil(t, use, "")
	s.MustPut(t, "5", "")
	if err := s.Client.RemoveObject(objecttest.Context(t), s.Bucket, "5", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a/3", "a/4"} {
		if err := s.Client.RemoveObject(objecttest.Context(t), s.Bucket, key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}
