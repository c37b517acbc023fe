package smb

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func withSnapshots(i *instance) {
	i.Plan.Storage, i.Plan.Snapshots, i.Plan.DeleteContents = 32<<20, 3, true
}

// changed makes one update as the engine does.
func changed(t *testing.T, b *backend, inst instance, p InstanceParams) error {
	t.Helper()
	return changedBy(t, b, inst, p, fmt.Sprint(time.Now().UnixNano()))
}

func changedBy(t *testing.T, b *backend, inst instance, p InstanceParams, operation string) error {
	t.Helper()
	next := inst
	next.Params = p
	r := services.UpdateRequest[Plan, InstanceParams]{Previous: inst, Instance: next, Operation: operation}
	if err := b.CheckUpdate(r); err != nil {
		return err
	}
	return finished(t, func() error { _, err := b.Update(testContext(t), r); return err })
}

func snapshot(name string) InstanceParams {
	return InstanceParams{Snapshot: &btrfs.Named{Name: name}}
}

func undo(to, keep string) InstanceParams {
	return InstanceParams{Undo: &btrfs.UndoTo{To: to, Keep: keep}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expectValue(t *testing.T, s *session, want string) {
	t.Helper()
	if got, err := s.Read(testContext(t), "file"); err != nil || got != want {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

// A user makes a snapshot, breaks everything, and brings it back.
func TestUndo(t *testing.T) {
	server := newHardServer(t, true)
	b := server.backend(t, "c")
	must(t, b.Ready(testContext(t)))
	inst := provisioned(t, b, "i", withSnapshots)
	credentials := bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values
	s := dialled(t, credentials)
	s.mustWrite(t, "file", "good")
	must(t, changed(t, b, inst, snapshot("before-import")))
	s.mustWrite(t, "file", "bad")
	must(t, changed(t, b, inst, snapshot("before-import"))) // once for each name
	// An application has a file open. It cannot write to what was replaced.
	open, err := s.share.Create("open")
	must(t, err)
	_, err = open.Write([]byte("before"))
	must(t, err)
	began := time.Now()
	must(t, changed(t, b, inst, undo("before-import", "failed-import")))
	t.Logf("undone in %s", time.Since(began))
	if _, err := open.Write([]byte("after")); err == nil {
		t.Error("an open file of the replaced contents was written to")
	}
	if s.Ping(testContext(t)) == nil {
		t.Error("a session from before the undo goes on")
	}
	again := dialled(t, credentials)
	expectValue(t, again, "good")
	again.mustWrite(t, "file", "since")
	described, err := b.Describe(testContext(t), inst)
	must(t, err)
	if shown := fmt.Sprint(described); !strings.Contains(shown, "before-import") || !strings.Contains(shown, "allowed:3 count:2") {
		t.Errorf("described as %v", described)
	}
	must(t, changed(t, b, inst, undo("failed-import", "")))
	again = dialled(t, credentials)
	expectValue(t, again, "bad")
	if open, err := again.Read(testContext(t), "open"); err != nil || open != "before" {
		t.Errorf("the open file was kept as %q, %v", open, err)
	}
	notes, err := servicetest.Once(b).Reconcile(testContext(t), nil, []instance{inst})
	if err != nil || len(notes) > 0 {
		t.Errorf("reconcile: %v, %v", notes, err)
	}
	expectValue(t, again, "bad")
	must(t, finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }))
	nothingLeft(t, server, inst)
}

// What an application writes while an undo is repeated is not lost.
func TestUndoRepeated(t *testing.T) {
	server := newHardServer(t, true)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", withSnapshots)
	credentials := bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values
	dialled(t, credentials).mustWrite(t, "file", "good")
	must(t, changed(t, b, inst, snapshot("first")))
	dialled(t, credentials).mustWrite(t, "file", "bad")
	must(t, changedBy(t, b, inst, undo("first", ""), "one"))
	s := dialled(t, credentials)
	s.mustWrite(t, "file", "since")
	must(t, changedBy(t, b, inst, undo("first", ""), "one"))
	expectValue(t, s, "since") // the session goes on, too
	// The engine undoes it: it was done, so that it stays.
	next := inst
	next.Params = undo("first", "")
	r := services.UpdateRequest[Plan, InstanceParams]{Previous: next, Instance: inst, Operation: "one"}
	must(t, finished(t, func() error { _, err := b.Update(testContext(t), r); return err }))
	expectValue(t, s, "since")
}

// Applications that write all the time: nothing that was acknowledged after the undo is lost, and
// all of them come back.
func TestUndoUnderLoad(t *testing.T) {
	server := newHardServer(t, true)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", withSnapshots)
	credentials := bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values
	dialled(t, credentials).mustWrite(t, "file", "good")
	must(t, changed(t, b, inst, snapshot("first")))
	ctx, stop := testContext(t), make(chan struct{})
	const writers = 3
	type written struct {
		at    time.Time
		value string
	}
	results := make(chan map[string]written, writers)
	for w := range writers {
		go func() {
			last := map[string]written{}
			var s services.Session
			for i := 0; ; i++ {
				select {
				case <-stop:
					results <- last
					return
				default:
				}
				if s == nil {
					if opened, err := dial(ctx, credentials); err == nil {
						s = opened
					}
					continue
				}
				key, value := fmt.Sprint("w", w), fmt.Sprint(i)
				began := time.Now()
				if err := s.Write(ctx, key, value); err != nil {
					_ = s.Close()
					s = nil
					continue
				}
				last[key] = written{began, value}
			}
		}()
	}
	time.Sleep(time.Second)
	must(t, changed(t, b, inst, undo("first", "")))
	done := time.Now()
	time.Sleep(time.Second)
	close(stop)
	s := dialled(t, credentials)
	expectValue(t, s, "good")
	for range writers {
		for key, w := range <-results {
			if w.at.Before(done) {
				t.Errorf("%s was not written after the undo", key)
			} else if got, err := s.Read(testContext(t), key); err != nil || got != w.value {
				t.Errorf("%s is %q, %v, want %q, which was acknowledged after the undo", key, got, err, w.value)
			}
		}
	}
}

// Snapshots protect an instance whose plan keeps contents, and are found without it.
func TestSnapshotsLeft(t *testing.T) {
	server, ctx := newHardServer(t, true), testContext(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { withSnapshots(i); i.Plan.DeleteContents = false })
	must(t, changed(t, b, inst, snapshot("first")))
	rejected(t, servicetest.Once(b).Deprovision(ctx, inst), "still has snapshots")
	inst.Plan.DeleteContents = true
	share := b.names.resource(inst.Name)
	// A crash has removed everything else.
	must(t, b.accounts.change(ctx, func(a *table) error { a.drop(inst.Name); return b.samba.dropShare(ctx, share) }))
	must(t, b.folder.discard(share))
	found, err := b.List(ctx)
	if err != nil || len(found) != 1 || found[0].Instance != inst.Name {
		t.Errorf("listed: %v, %v", found, err)
	}
	must(t, finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }))
	nothingLeft(t, server, inst)
}

// Where there is no btrfs, a plan with snapshots is refused, and so are the parameters.
func TestSnapshotsElsewhere(t *testing.T) {
	b := newServer(t).backend(t, "c")
	expect(t, b.CheckPlan(Plan{Snapshots: 1}), "on the file system btrfs")
	must(t, b.CheckPlan(Plan{}))
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	for name, p := range map[string]InstanceParams{
		"parameters.snapshot": snapshot("first"), "parameters.undo": undo("first", ""),
		"parameters.remove_snapshot": {RemoveSnapshot: &btrfs.Named{Name: "first"}},
	} {
		rejected(t, changed(t, b, inst, p), name+": this plan has no snapshots, which only a server on the file system btrfs can make")
	}
}
