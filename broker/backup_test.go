package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
)

// filled provisions an instance with data.
func (c client) filled(t *testing.T, id, plan string) map[string]string {
	t.Helper()
	c.provision(id, on(plan), true).want(t, "201")
	for n := range 10 {
		c.Backend.Write(id, fmt.Sprint("key ", n), "value of "+id)
	}
	return c.Backend.Data(id)
}

func backUp(name string) domain.UpdateDetails {
	return domain.UpdateDetails{RawParameters: json.RawMessage(fmt.Sprintf(`{"backup": {"name": %q}}`, name))}
}

func (c client) backups(t *testing.T, id string) broker.Backups {
	t.Helper()
	a, instance := c.fetch(id)
	a.want(t, "200")
	return instance.Metadata.Attributes["backups"].(broker.Backups)
}

func from(plan, id string) domain.ProvisionDetails {
	return with(on(plan), fmt.Sprintf(`{"restore_from": {"instance": %q}}`, id))
}

// eventually waits until something that happens in the background has happened.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// An instance is backed up, deleted, and restored to another one.
func TestBackupAndRestore(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	data := c.filled(t, "i", brokertest.BackedUp)
	c.update("i", backUp("before-migration"), true).want(t, "200")
	backups := c.backups(t, "i")
	if backups.Count != 1 || backups.Last.Name != "before-migration" || backups.Last.Bytes == 0 || backups.Next == "" {
		t.Errorf("backups: %+v", backups)
	}
	c.Backend.Write("i", "key 1", "changed")
	c.update("i", backUp("before-migration"), true).want(t, "200")
	if again := c.backups(t, "i"); again.Count != 1 || again.Last.ID != backups.Last.ID {
		t.Errorf("the same name made another backup: %+v", again)
	}

	c.provision("copy", from(brokertest.BackedUp, "i"), true).want(t, "201")
	if diff := cmp.Diff(data, c.Backend.Data("copy")); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	c.provision("copy", from(brokertest.BackedUp, "i"), true).want(t, "200")
	c.provision("copy", from(brokertest.BackedUp, "other"), true).want(t, "Conflict")
	c.provision("copy", on(brokertest.BackedUp), true).want(t, "Conflict")
	if _, instance := c.fetch("copy"); string(instance.Parameters) != `{"restore_from":{"instance":"i"}}` {
		t.Errorf("parameters: %s", instance.Parameters)
	}

	c.deprovision("i", true).want(t, "200")
	c.provision("later", from(brokertest.BackedUpTwin, "i"), true).want(t, "201")
	if diff := cmp.Diff(data, c.Backend.Data("later")); diff != "" {
		t.Errorf("restored after the deletion (-want +got):\n%s", diff)
	}
	c.bind("later", "b", bound(brokertest.BackedUpTwin, ""), true).want(t, "201")
}

// A clone is a copy of a live instance, and leaves no backup.
func TestClone(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	data := c.filled(t, "i", brokertest.BackedUp)
	a := c.provision("clone", with(on(brokertest.BackedUpTwin), `{"clone_of": "i", "colour": "red"}`), true)
	if a.word == "202" {
		_, poll := c.poll("clone", "", a.operation)
		t.Fatalf("still in progress: %s", poll.Description)
	}
	a.want(t, "201")
	if diff := cmp.Diff(data, c.Backend.Data("clone")); diff != "" {
		t.Errorf("cloned (-want +got):\n%s", diff)
	}
	if colour, _ := c.Backend.Colour("clone"); colour != "red" {
		t.Errorf("colour %q", colour)
	}
	if backups := c.backups(t, "i"); backups.Count != 0 {
		t.Errorf("backups: %+v", backups)
	}
	eventually(t, "the clone's backup is deleted, and its key", func() bool {
		objects, manifests := c.Archive.Objects()
		return len(objects)+len(manifests)+c.Memory.Len() == 0
	})
}

// What cannot be restored is refused before it is accepted. What belongs to others reads as if it
// did not exist.
func TestBackupSources(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.filled(t, "bare", brokertest.BackedUp)
	c.update("i", backUp("one"), true).want(t, "200")
	id := c.backups(t, "i").Last.ID
	restore := func(parameters string) domain.ProvisionDetails { return with(on(brokertest.BackedUp), parameters) }
	space := restore(`{"restore_from": {"instance": "i"}}`)
	space.SpaceGUID = "another"
	organization := restore(`{"restore_from": {"instance": "i", "backup": "` + id + `"}}`)
	organization.OrganizationGUID = "another"
	unknown := c.provision("n", restore(`{"restore_from": {"instance": "none"}}`), true).want(t, "Invalid").text()
	for name, a := range map[string]answer{
		"without backups":      c.provision("n", restore(`{"restore_from": {"instance": "bare"}}`), true),
		"of another space":     c.provision("n", space, true),
		"of another org":       c.provision("n", organization, true),
		"of another platform":  c.as("other").provision("n", restore(`{"restore_from": {"instance": "i"}}`), true),
		"of another with ID":   c.as("other").provision("n", restore(`{"restore_from": {"instance": "i", "backup": "`+id+`"}}`), true),
		"unknown, with its ID": c.provision("n", restore(`{"restore_from": {"instance": "none", "backup": "`+id+`"}}`), true),
	} {
		if a.word != "Invalid" || a.text() != unknown {
			t.Errorf("%s: %s %q, want Invalid %q", name, a.word, a.text(), unknown)
		}
	}
	for parameters, text := range map[string]string{
		`{"restore_from": {"instance": "i", "backup": "none"}}`:                                                  "parameters.restore_from.backup: ",
		`{"restore_from": {"instance": "i", "before": "2001-01-01T00:00:00Z"}}`:                                  "parameters.restore_from.before: ",
		`{"restore_from": {"instance": "i", "before": "yesterday"}}`:                                             "parameters.restore_from.before: must be a time",
		`{"restore_from": {"instance": "i", "backup": "` + id + `", "before": "2001-01-01T00:00:00Z"}}`:          "parameters.restore_from.before: is for the latest",
		`{"restore_from": {"instance": "i"}, "clone_of": "i"}`:                                                   "parameters.clone_of: an instance is filled from one source",
		`{"restore_from_latest_snapshot_before": "2001-01-01T00:00:00Z"}`:                                        "parameters.restore_from_latest_snapshot_before: needs",
		`{"restore_from_latest_snapshot_of": "i", "restore_from_latest_snapshot_before": "2001-01-01 10:00:00"}`: "parameters.restore_from_latest_snapshot_before: ",
		`{"clone_of": "none"}`:      "parameters.clone_of: no instance",
		`{"restore_from": {}}`:      "parameters.restore_from",
		`{"restore_from": "i"}`:     "parameters.restore_from",
		`{"backup": {"name": "x"}}`: "parameters",
	} {
		a := c.provision("n", restore(parameters), true)
		if a.word != "Invalid" || len(a.text()) < len(text) || a.text()[:len(text)] != text {
			t.Errorf("%s: %s %q, want %q", parameters, a.word, a.text(), text)
		}
	}
	c.provision("n", with(on(brokertest.Small), `{"restore_from": {"instance": "i"}}`), true).want(t, "Invalid")
	c.update("i", backUp("bad name"), true).want(t, "Invalid")
	c.update("i", domain.UpdateDetails{RawParameters: json.RawMessage(`{"backup": {"name": "x"}, "colour": "red"}`)}, true).want(t, "Unsupported")
	c.provision("n", restore(`{"restore_from_latest_snapshot_of": "i"}`), true).want(t, "201")
	c.provision("by-id", restore(`{"restore_from": {"instance": "i", "backup": "`+id+`"}}`), true).want(t, "201")
}

// On demand there are as many backups as the plan allows: the oldest goes.
func TestBackupsOnDemand(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUpTwin)
	c.update("i", backUp("one"), true).want(t, "200")
	c.update("i", backUp("two"), true).want(t, "200")
	if b := c.backups(t, "i"); b.Count != 1 || b.Last.Name != "two" {
		t.Errorf("backups: %+v", b)
	}
	eventually(t, "the first backup is deleted", func() bool {
		objects, manifests := c.Archive.Objects()
		return len(objects) == 1 && len(manifests) == 1
	})
}

// The backups of a deleted instance go with the key when their time is over.
func TestBackupsExpire(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.update("i", backUp("one"), true).want(t, "200")
	c.deprovision("i", true).want(t, "200")
	if objects, _ := c.Archive.Objects(); len(objects) != 1 || c.Memory.Len() != 1 {
		t.Fatalf("after the deletion: objects %v, %d secrets", objects, c.Memory.Len())
	}
	c.exec(t, "update backups set expires_at = now() - interval '1 second'")
	eventually(t, "the backup is deleted, and its key", func() bool {
		objects, manifests := c.Archive.Objects()
		return len(objects)+len(manifests)+c.Memory.Len() == 0
	})
	c.provision("later", from(brokertest.BackedUp, "i"), true).want(t, "Invalid")
}

func (c client) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := c.Store.Pool.Exec(context.Background(), sql); err != nil {
		t.Fatal(err)
	}
}

// A scheduled backup is made once, however many were missed, and verified.
func TestScheduledBackups(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	for n := 1; n <= 3; n++ {
		eventually(t, "the schedule is recorded", func() bool { return c.backups(t, "i").Next != "" })
		c.exec(t, "update backup_schedules set next_at = now() - interval '3 days'")
		eventually(t, "a backup is made", func() bool { return c.backups(t, "i").Count == min(n, 2) && len(c.backups(t, "i").InProgress) == 0 })
		eventually(t, "the next is in the future", func() bool {
			next, err := time.Parse("2006-01-02T15:04:05.0Z", c.backups(t, "i").Next)
			return err == nil && next.After(time.Now())
		})
	}
	eventually(t, "one is verified", func() bool {
		b := c.backups(t, "i")
		return b.List[len(b.List)-1].Verified != "" || b.Last.Verified != ""
	})
	if n, _ := c.Backend.Size(); n != 1 {
		t.Errorf("%d instances exist", n)
	}
}

// A damaged backup is refused before the backend sees it, and nothing is left of the instance.
func TestDamagedBackup(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.update("i", backUp("one"), true).want(t, "200")
	c.Archive.Damage()
	a := c.provision("copy", from(brokertest.BackedUp, "i"), true)
	if a.word == "202" {
		t.Fatal("still in progress")
	}
	a.want(t, "Invalid")
	for _, call := range c.Backend.Calls() {
		if call == "restore copy" {
			t.Error("the backend saw a damaged backup")
		}
	}
	if _, ok := c.Backend.Colour("copy"); ok {
		t.Error("the instance is left")
	}
}

// A delete cancels a backup that is being made, and a restore.
func TestDeleteCancelsCopies(t *testing.T) {
	for _, verb := range []string{"backup", "restore"} {
		t.Run(verb, func(t *testing.T) {
			c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond})
			c.provision("i", on(brokertest.BackedUpTwin), true)
			eventually(t, "it is ready", func() bool { a, _ := c.fetch("i"); return a.word == "200" })
			c.Backend.Write("i", "key", "value")
			if verb == "restore" {
				c.update("i", backUp("one"), true)
				eventually(t, "it is backed up", func() bool { return c.backups(t, "i").Count == 1 })
			}
			gate := brokertest.NewGate()
			c.Backend.BeforeCall(func(ctx context.Context, called, _ string) error {
				if called == verb {
					return gate.Pass(ctx)
				}
				return nil
			})
			victim := "i"
			if verb == "restore" {
				victim = "copy"
				c.provision("copy", from(brokertest.BackedUpTwin, "i"), true).want(t, "202")
			} else {
				c.update("i", backUp("one"), true).want(t, "202")
			}
			ctx := gate.AwaitCall(t)
			if verb == "backup" {
				c.bind("i", "b", bound(brokertest.BackedUpTwin, ""), true)
				eventually(t, "it is bound meanwhile", func() bool { return c.fetchBinding("i", "b").word == "200" })
				c.unbind("i", "b", true)
				eventually(t, "it is unbound meanwhile", func() bool { _, n := c.Backend.Size(); return n == 0 })
			}
			eventually(t, "the delete is accepted", func() bool {
				word := c.deprovision(victim, true).word
				return word == "202" || word == "200"
			})
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Minute):
				t.Fatal("the copy goes on")
			}
			gate.Open()
			eventually(t, "it is deleted", func() bool { _, ok := c.Backend.Colour(victim); return !ok })
			eventually(t, "no object is without a manifest", func() bool {
				objects, manifests := c.Archive.Objects()
				return len(objects) == len(manifests)
			})
		})
	}
}

// While the store does not answer, the operation waits and says so.
func TestStoreAway(t *testing.T) {
	c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond})
	c.provision("i", on(brokertest.BackedUp), true)
	eventually(t, "it is ready", func() bool { a, _ := c.fetch("i"); return a.word == "200" })
	c.Backend.Write("i", "key", "value")
	c.Archive.OnCall(func(string) error { return errors.New("connection refused") })
	a := c.update("i", backUp("one"), true).want(t, "202")
	eventually(t, "the operation says what it waits for", func() bool {
		state, poll := c.poll("i", "", a.operation)
		return state == "in progress" && poll.Description == "makes the backup: waits for the store of backups"
	})
	c.Archive.OnCall(nil)
	eventually(t, "the operation ends", func() bool { state, _ := c.poll("i", "", a.operation); return state == "succeeded" })
}

// A replica that stops in the middle of a copy, or whose call fails at any point, leaves the copy to
// another one, which makes it anew.
func TestCopiesConverge(t *testing.T) {
	for _, point := range []string{"write", "stored", "manifest", "described", "backup", "check", "read", "restore", "restored", "deprovision", "provision"} {
		t.Run(point, func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			data := c.filled(t, "i", brokertest.BackedUp)
			var failed atomic.Int32
			fail := func(call string) error {
				if call == point && failed.Add(1) <= 2 {
					return errors.New("cut here")
				}
				return nil
			}
			c.Archive.OnCall(fail)
			c.Backend.BeforeCall(func(_ context.Context, verb, _ string) error { return fail(verb) })
			c.update("i", backUp("one"), true).want(t, "200")
			if objects, manifests := c.Archive.Objects(); len(objects) != 1 || len(manifests) != 1 {
				t.Errorf("objects %v, manifests %v", objects, manifests)
			}
			c.provision("copy", from(brokertest.BackedUp, "i"), true).want(t, "201")
			if diff := cmp.Diff(data, c.Backend.Data("copy")); diff != "" {
				t.Errorf("restored (-want +got):\n%s", diff)
			}
			eventually(t, "the scratch instance is removed, and the backup verified", func() bool {
				n, _ := c.Backend.Size()
				return n == 2 && c.backups(t, "i").Last.Verified != ""
			})
		})
	}
}

// A replica that dies in the middle of a copy loses its locks, and another one begins the copy anew
// within seconds.
func TestCopyAfterDeadReplica(t *testing.T) {
	for _, verb := range []string{"backup", "restore"} {
		t.Run(verb, func(t *testing.T) {
			c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond})
			c.provision("i", on(brokertest.BackedUpTwin), true)
			eventually(t, "it is ready", func() bool { a, _ := c.fetch("i"); return a.word == "200" })
			c.Backend.Write("i", "key", "value")
			if verb == "restore" {
				c.update("i", backUp("one"), true)
				eventually(t, "it is backed up", func() bool { return c.backups(t, "i").Count == 1 })
			}
			gate := brokertest.NewGate()
			var calls atomic.Int32
			c.Backend.BeforeCall(func(ctx context.Context, called, _ string) error {
				if called == verb && calls.Add(1) == 1 {
					return gate.Pass(context.WithoutCancel(ctx))
				}
				return nil
			})
			if verb == "restore" {
				c.provision("copy", from(brokertest.BackedUpTwin, "i"), true).want(t, "202")
			} else {
				c.update("i", backUp("one"), true).want(t, "202")
			}
			gate.AwaitCall(t)
			newHarness(t, brokertest.Options{DatabaseURL: c.DatabaseURL, Backend: c.Backend, Credentials: c.Memory, Archive: c.Archive})
			// Only the database notices that a machine is gone: it ends the sessions.
			c.exec(t, `select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' and datname = current_database() and pid <> pg_backend_pid()`)
			defer gate.Open()
			if verb == "backup" {
				eventually(t, "another replica makes the backup", func() bool { return c.backups(t, "i").Count == 1 })
				if objects, manifests := c.Archive.Objects(); len(objects) != 1 || len(manifests) != 1 {
					t.Errorf("objects %v, manifests %v", objects, manifests)
				}
				return
			}
			eventually(t, "another replica restores", func() bool { a, _ := c.fetch("copy"); return a.word == "200" })
			if diff := cmp.Diff(c.Backend.Data("i"), c.Backend.Data("copy")); diff != "" {
				t.Errorf("restored (-want +got):\n%s", diff)
			}
		})
	}
}

// Users see the backups of an instance also while its server does not answer.
func TestBackupsOfHangingServer(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.update("i", backUp("one"), true).want(t, "200")
	c.Backend.Attributes(nil, context.DeadlineExceeded)
	if n := c.backups(t, "i").Count; n != 1 {
		t.Errorf("%d backups", n)
	}
}

// A copy that runs for hours does not hold up the migrations of the next release.
func TestCopiesLockNoTable(t *testing.T) {
	for _, verb := range []string{"backup", "restore"} {
		t.Run(verb, func(t *testing.T) {
			c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond})
			c.provision("i", on(brokertest.BackedUp), true)
			eventually(t, "it is ready", func() bool { a, _ := c.fetch("i"); return a.word == "200" })
			c.Backend.Write("i", "key", "value")
			if verb == "restore" {
				c.update("i", backUp("one"), true)
				eventually(t, "it is backed up", func() bool { return c.backups(t, "i").Count == 1 })
			}
			gate := brokertest.NewGate()
			defer gate.Open()
			c.Backend.BeforeCall(func(ctx context.Context, called, _ string) error {
				if called == verb {
					return gate.Pass(ctx)
				}
				return nil
			})
			if verb == "restore" {
				c.provision("copy", from(brokertest.BackedUp, "i"), true).want(t, "202")
			} else {
				c.update("i", backUp("one"), true)
			}
			gate.AwaitCall(t)
			time.Sleep(3 * time.Second) // the copy is watched meanwhile
			c.exec(t, `set lock_timeout = '10s'; begin; lock table backups, copies, instances, operations in access exclusive mode; rollback; reset lock_timeout`)
		})
	}
}
