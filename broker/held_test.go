package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/brokertest"
)

// A server holds the backups of its instances: nothing goes to the store, and only the same server
// restores them.
func TestHeldBackups(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	data := c.filled(t, "i", brokertest.Held)
	c.update("i", backUp("one"), true).want(t, "200")
	backups := c.backups(t, "i")
	if backups.Count != 1 || backups.Last.Name != "one" || backups.Last.Bytes == 0 || backups.Next == "" {
		t.Errorf("backups: %+v", backups)
	}
	if held := c.Backend.Held(); !slices.Equal(held, []string{backups.Last.ID}) {
		t.Errorf("the server holds %v, want %s", held, backups.Last.ID)
	}
	c.Backend.Write("i", "key 1", "changed")
	c.update("i", backUp("one"), true).want(t, "200")

	c.filled(t, "elsewhere", brokertest.Held) // so that placement would choose any server
	for n := range 3 {
		id := fmt.Sprint("copy ", n)
		c.provision(id, from(brokertest.Held, "i"), true).want(t, "201")
		if diff := cmp.Diff(data, c.Backend.Data(id)); diff != "" {
			t.Errorf("restored (-want +got):\n%s", diff)
		}
		if got, want := c.Backend.Server(id), c.Backend.Server("i"); got != want {
			t.Errorf("restored on server %q, want %q", got, want)
		}
	}
	c.provision("clone", with(on(brokertest.Held), `{"clone_of": "i"}`), true).want(t, "201")
	if got := c.Backend.Data("clone"); got["key 1"] != "changed" || c.Backend.Server("clone") != c.Backend.Server("i") {
		t.Errorf("cloned on server %q: %v", c.Backend.Server("clone"), got)
	}
	for plan, word := range map[string]string{brokertest.HeldTiny: "Invalid", brokertest.BackedUp: "Invalid"} {
		c.provision("n", from(plan, "i"), true).want(t, word)
		c.provision("n", with(on(brokertest.BackedUp), `{"clone_of": "i"}`), true).want(t, "Invalid")
	}

	c.deprovision("i", true).want(t, "200")
	c.provision("later", from(brokertest.Held, "i"), true).want(t, "201")
	if diff := cmp.Diff(data, c.Backend.Data("later")); diff != "" {
		t.Errorf("restored after the deletion (-want +got):\n%s", diff)
	}
	c.exec(t, "update backups set expires_at = now() - interval '1 second' where expires_at is not null")
	eventually(t, "the server holds nothing", func() bool { return len(c.Backend.Held()) == 0 })
	c.provision("n", from(brokertest.Held, "i"), true).want(t, "Invalid")
	if objects, manifests := c.Archive.Objects(); len(objects)+len(manifests)+c.Memory.Len() != 0 {
		t.Errorf("the store has %v and %v, and %d secrets are left", objects, manifests, c.Memory.Len())
	}
}

// Schedules, retention and verification are those of all backups.
func TestHeldBackupsBySchedule(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.Held)
	for n := 1; n <= 3; n++ {
		eventually(t, "the schedule is recorded", func() bool { return c.backups(t, "i").Next != "" })
		c.exec(t, "update backup_schedules set next_at = now() - interval '3 days'")
		eventually(t, "a backup is made", func() bool { return c.backups(t, "i").Count == min(n, 2) && len(c.backups(t, "i").InProgress) == 0 })
		eventually(t, "the next is in the future", func() bool {
			next, err := time.Parse("2006-01-02T15:04:05.0Z", c.backups(t, "i").Next)
			return err == nil && next.After(time.Now())
		})
	}
	eventually(t, "the server has deleted one", func() bool { return len(c.Backend.Held()) == 2 })
	eventually(t, "one is verified", func() bool {
		b := c.backups(t, "i")
		return b.List[len(b.List)-1].Verified != "" || b.Last.Verified != ""
	})
	eventually(t, "the scratch instance is removed", func() bool { n, _ := c.Backend.Size(); return n == 1 })
}

// Calls that fail at any point are repeated, and what a failed backup may have left is deleted.
func TestHeldBackupsConverge(t *testing.T) {
	for _, point := range []string{"create backup", "provision from", "delete backup", "deprovision"} {
		t.Run(point, func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			data := c.filled(t, "i", brokertest.Held)
			var failed atomic.Int32
			fail := func(_ context.Context, call, _ string) error {
				if call == point && failed.Add(1) <= 2 {
					return errors.New("cut here")
				}
				return nil
			}
			c.Backend.BeforeCall(fail)
			c.update("i", backUp("one"), true).want(t, "200")
			c.provision("clone", with(on(brokertest.Held), `{"clone_of": "i"}`), true).want(t, "201")
			if diff := cmp.Diff(data, c.Backend.Data("clone")); diff != "" {
				t.Errorf("cloned (-want +got):\n%s", diff)
			}
			eventually(t, "the backup for the clone is deleted, and the scratch instance", func() bool {
				n, _ := c.Backend.Size()
				return n == 2 && len(c.Backend.Held()) == 1 && c.backups(t, "i").Last.Verified != ""
			})
			c.deprovision("clone", true).want(t, "200")
			c.deprovision("i", true).want(t, "200")
			if len(c.Backend.Held()) != 1 {
				t.Errorf("held after the deletion: %v", c.Backend.Held())
			}
		})
	}
}

// A delete cancels a backup that the server makes, and a restore, and nothing is left.
func TestDeleteCancelsHeldBackups(t *testing.T) {
	for _, verb := range []string{"create backup", "provision from"} {
		t.Run(verb, func(t *testing.T) {
			c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond})
			c.provision("i", on(brokertest.Held), true)
			eventually(t, "it is ready", func() bool { a, _ := c.fetch("i"); return a.word == "200" })
			gate, calls := brokertest.NewGate(), atomic.Int32{}
			defer gate.Open()
			stop := func(ctx context.Context, called, _ string) error {
				if called == verb && calls.Add(1) == 2 {
					return gate.Pass(ctx)
				}
				return nil
			}
			victim := "i"
			if verb == "create backup" {
				c.Backend.BeforeCall(stop)
				c.update("i", backUp("one"), true).want(t, "202")
			} else {
				c.update("i", backUp("one"), true)
				eventually(t, "it is backed up", func() bool { return c.backups(t, "i").Count == 1 })
				c.Backend.BeforeCall(stop)
				victim = "copy"
				c.provision("copy", from(brokertest.Held, "i"), true).want(t, "202")
			}
			gate.AwaitCall(t)
			eventually(t, "the delete is accepted", func() bool { return c.deprovision(victim, true).word == "202" })
			eventually(t, "it is deleted", func() bool { _, ok := c.Backend.Colour(victim); return !ok })
			if verb == "create backup" {
				eventually(t, "the server holds nothing", func() bool { return len(c.Backend.Held()) == 0 })
			}
		})
	}
}

// What a server holds for long and no row names is deleted. The rest stays.
func TestUnknownHeldBackups(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.Held)
	c.update("i", backUp("one"), true).want(t, "200")
	old, young := uuid.NewString(), uuid.NewString()
	c.Backend.Hold(young, time.Now().Add(-6*24*time.Hour))
	c.Backend.Hold(old, time.Now().Add(-8*24*time.Hour))
	want := []string{c.backups(t, "i").Last.ID, young}
	slices.Sort(want)
	eventually(t, "the unknown one is deleted", func() bool { return slices.Equal(c.Backend.Held(), want) })
}

// A server that does not answer holds up no other's deletions, and its backups are deleted later.
func TestHeldBackupsOfServerAway(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	for _, id := range []string{"a", "b"} {
		c.filled(t, id, brokertest.Held)
		c.update(id, backUp("one"), true).want(t, "200")
	}
	if c.Backend.Server("a") == c.Backend.Server("b") {
		t.Fatal("both are on the same server")
	}
	c.Backend.SetUnreachable(c.Backend.Server("a"), true)
	c.exec(t, "update backups set state = 'deleting'")
	eventually(t, "the other server's is deleted", func() bool { return len(c.Backend.Held()) == 1 })
	c.Backend.SetUnreachable(c.Backend.Server("a"), false)
	eventually(t, "all are deleted", func() bool { return len(c.Backend.Held()) == 0 })
	var operations json.RawMessage
	if err := c.Store.Pool.QueryRow(t.Context(), "select json_agg(b) from backups b").Scan(&operations); err != nil || operations != nil {
		t.Errorf("rows are left: %s, %v", operations, err)
	}
}
