package smb

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

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
		Definition: Definition(), Again: hard, Local: true,
		Address:   server.Address(),
		Config:    func(address string) json.RawMessage { return server.config("suite", address) },
		Plan:      raw(`{"storage": "100MB", "files": 1000, ` + plan + `, "delete_contents": true}`),
		OtherPlan: raw(`{"storage": "1GB", "connections": 20, "delete_contents": true}`),
		Create:    []json.RawMessage{raw(`{}`)},
		Update:    updates,
		Bind:      []json.RawMessage{raw(`{"mount": "/data", "readonly": false}`)},
		BindSame:  []json.RawMessage{raw(`{}`)},
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{
				"a binding's parameter": raw(`{"readonly": true}`),
				"a name for the share":  raw(`{"share": "mine"}`),
			},
			Bind: map[string]json.RawMessage{
				"an empty mount":        raw(`{"mount": ""}`),
				"a relative mount":      raw(`{"mount": "data"}`),
				"the root":              raw(`{"mount": "/"}`),
				"a mount that climbs":   raw(`{"mount": "/data/../etc"}`),
				"a mount in place":      raw(`{"mount": "/data/./x"}`),
				"a slash at the end":    raw(`{"mount": "/data/"}`),
				"two slashes":           raw(`{"mount": "//data"}`),
				"a mount of options":    raw(`{"mount": "/data,uid=0"}`),
				"a mount with a colon":  raw(`{"mount": "/data:/etc"}`),
				"a mount in /proc":      raw(`{"mount": "/proc/1"}`),
				"a mount on /dev":       raw(`{"mount": "/dev"}`),
				"a long mount":          raw(`{"mount": "/` + strings.Repeat("x", 255) + `"}`),
				"mounts as a list":      raw(`{"mount": ["/data"]}`),
				"readonly as text":      raw(`{"readonly": "true"}`),
				"another's credentials": raw(`{"username": "x", "password": "y"}`),
			},
		},
		ReadOnly: raw(`{"readonly": true}`),
		Reach:    func(t *testing.T, mine, theirs map[string]any) { reach(t, server, mine, theirs) },
		Break:    map[string]func(context.Context, map[string]any) error{"its own password": server.chooses(needed(t, "rpcclient"))},
		Limits: append(limits,
			servicetest.Limit{Name: "bindings", Plan: raw(`{"bindings": 2}`), Holds: holdsBindings},
			servicetest.Limit{Name: "connections", Plan: raw(`{"connections": 2, "delete_contents": true}`), Holds: holdsConnections}),
		Fill: fill(server),
		Left: server.leftOf,
	})
}

func measuredLimits() []servicetest.Limit {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return []servicetest.Limit{
		{Name: "storage", Plan: raw(`{"storage": "1MB", "delete_contents": true}`), Holds: holdsStorage},
		{Name: "files", Plan: raw(`{"files": 3, "delete_contents": true}`), Holds: holdsFiles},
	}
}

// keepUntil keeps until the note is one that is wanted: a share is counted only
// so often.
func keepUntil(t *testing.T, use servicetest.Use, prefix string) {
	t.Helper()
	note := ""
	for range 200 {
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
	s.mustWrite(t, "one", big)
	s.mustWrite(t, "two", big)
	keepUntil(t, use, "storage: ")
	if s.Write(testContext(t), "three", "x") == nil {
		t.Error("the session from before writes to a full share")
	}
	again := dialled(t, credentials)
	for _, key := range []string{"one", "three"} {
		if again.Write(testContext(t), key, "x") == nil {
			t.Error("wrote to a full share")
		}
	}
	if value, err := again.Read(testContext(t), "one"); err != nil || value != big {
		t.Errorf("read from a full share: %v", err)
	}
}

func holdsFiles(t *testing.T, use servicetest.Use) {
	credentials := use.Bind(t, nil)
	s := dialled(t, credentials)
	if err := s.share.Mkdir("a", 0o770); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1", "2", `a\3`} {
		if err := s.share.WriteFile(name, nil, 0o660); err != nil {
			t.Fatal(err)
		}
	}
	keepUntil(t, use, "files: 4 of 3; the share is read-only")
	if dialled(t, credentials).Write(testContext(t), "5", "x") == nil {
		t.Error("wrote to a full share")
	}
}

func holdsBindings(t *testing.T, use servicetest.Use) {
	for range 2 {
		if err := dialled(t, use.Bind(t, nil)).Ping(testContext(t)); err != nil {
			t.Error(err)
		}
	} // that a third is refused is TestBindingsLimit's: Use has no way to fail
}

func holdsConnections(t *testing.T, use servicetest.Use) {
	credentials := use.Bind(t, nil)
	one := dialled(t, credentials)
	dialled(t, credentials)
	if s, err := dial(testContext(t), credentials); err == nil {
		t.Error("a third connection was let in, of two allowed")
		_ = s.Close()
	}
	if err := one.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}
