package broker_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
)

// scheduled makes a backup by the schedule, once nothing else is being copied.
func (c client) scheduled(t *testing.T, id string) broker.Backup {
	t.Helper()
	c.idle(t, id)
	before := c.backups(t, id).Last
	c.exec(t, "update backup_schedules set next_at = now() - interval '3 days' where instance_id = '"+id+"'")
	eventually(t, "a backup is made by the schedule", func() bool {
		last := c.backups(t, id).Last
		return last != nil && (before == nil || last.ID != before.ID)
	})
	c.idle(t, id)
	return *c.backups(t, id).Last
}

// idle waits until nothing is copied, verified or deleted, other than what others build on.
func (c client) idle(t *testing.T, id string) {
	t.Helper()
	eventually(t, "no copy is in progress", func() bool {
		var unfinished int
		err := c.Store.Pool.QueryRow(t.Context(), "select count(*) from copies where finished_at is null").Scan(&unfinished)
		return err == nil && unfinished == 0 && c.backups(t, id).Next != ""
	})
}

// Scheduled backups build on each other. The store keeps an expired backup, which users no longer
// see, as long as a later one builds on it.
func TestIncrementalBackups(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.Backend.SetIncrements(true)
	first := c.scheduled(t, "i")
	c.Backend.Write("i", "key 3", "changed")
	second := c.scheduled(t, "i")
	if first.BuildsOn != "" || second.BuildsOn != first.ID || c.Archive.Manifest(second.ID).Base != first.ID {
		t.Fatalf("the second builds on %q, by its manifest on %q, and the first on %q; want %s", second.BuildsOn, c.Archive.Manifest(second.ID).Base, first.BuildsOn, first.ID)
	}
	c.update("i", backUp("mine"), true).want(t, "200")
	if mine := c.backups(t, "i").Last; mine.Name != "mine" || mine.BuildsOn != "" {
		t.Errorf("a user's backup builds on another one: %+v", mine)
	}
	c.Backend.Write("i", "key 4", "changed too")
	third := c.scheduled(t, "i")
	data := c.Backend.Data("i")
	if third.BuildsOn != second.ID {
		t.Errorf("the third builds on %q, want %s", third.BuildsOn, second.ID)
	}
	shown := []string{}
	for _, b := range c.backups(t, "i").List {
		shown = append(shown, b.ID)
	}
	if slices.Contains(shown, first.ID) || len(shown) != 3 {
		t.Errorf("shown: %v, want it without %s", shown, first.ID)
	}
	c.provision("refused", with(on(brokertest.BackedUp), fmt.Sprintf(`{"restore_from": {"instance": "i", "backup": %q}}`, first.ID)), true).want(t, "Invalid")
	c.provision("copy", with(on(brokertest.BackedUpTwin), fmt.Sprintf(`{"restore_from": {"instance": "i", "backup": %q}}`, third.ID)), true).want(t, "201")
	if diff := cmp.Diff(data, c.Backend.Data("copy")); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	if building, err := c.Store.BackupsOn(t.Context(), c.Store.Pool, first.ID); err != nil || len(building) != 2 {
		t.Errorf("%v build on the first, %v", building, err)
	}
	if objects, manifests := c.Archive.Objects(); len(objects) != 4 || len(manifests) != 4 {
		t.Errorf("in the store: %v, %v", objects, manifests)
	}

	c.deprovision("i", true).want(t, "200")
	c.exec(t, "update backups set expires_at = now() - interval '1 second' where expires_at is not null")
	eventually(t, "all of them are deleted, with the key", func() bool {
		objects, manifests := c.Archive.Objects()
		return len(objects)+len(manifests)+c.Memory.Len() == 0
	})
}

// Six backups build on a complete one, and the eighth is complete again. The first is then deleted
// with the last one that builds on it.
func TestLengthOfChains(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.Backend.SetIncrements(true)
	var made []broker.Backup
	for range 10 {
		made = append(made, c.scheduled(t, "i"))
	}
	for n, b := range made {
		if complete := b.BuildsOn == ""; complete != (n == 0 || n == 7) {
			t.Errorf("backup %d builds on %q", n+1, b.BuildsOn)
		}
	}
	eventually(t, "the first seven are deleted", func() bool {
		objects, _ := c.Archive.Objects()
		return len(objects) == 3 // the plan keeps two, which need the eighth
	})
}

// An old chain does not grow, nor does one of another server.
func TestChainsThatDoNotGrow(t *testing.T) {
	for name, change := range map[string]string{
		"old":         "update backups set created_at = created_at - interval '8 days'",
		"elsewhere":   "update backups set server = 'other'",
		"found wrong": "update backups set verify_error = 'differs'",
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			c.filled(t, "i", brokertest.BackedUp)
			c.Backend.SetIncrements(true)
			c.scheduled(t, "i")
			c.exec(t, change)
			if b := c.scheduled(t, "i"); b.BuildsOn != "" {
				t.Errorf("it builds on %s", b.BuildsOn)
			}
		})
	}
}

// If the base is damaged or missing, a restore is refused before the backend sees it, and the next
// backup is complete.
func TestDamagedBase(t *testing.T) {
	for name, damage := range map[string]func(c client, base string){
		"damaged": func(c client, _ string) { c.Archive.Damage() },
		"missing": func(c client, base string) { c.Archive.Lose(base) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			c.filled(t, "i", brokertest.BackedUp)
			c.Backend.SetIncrements(true)
			first := c.scheduled(t, "i")
			second := c.scheduled(t, "i")
			damage(c, first.ID)
			c.provision("copy", from(brokertest.BackedUp, "i"), true).want(t, "Invalid")
			if slices.Contains(c.Backend.Calls(), "restore copy") {
				t.Error("the backend saw a damaged backup")
			}
			if name == "missing" { // the next one reads the second only
				c.Archive.Lose(second.ID)
			}
			third := c.scheduled(t, "i")
			if third.BuildsOn != "" {
				t.Errorf("the next builds on %s", third.BuildsOn)
			}
			b, err := c.Store.Backup(t.Context(), c.Store.Pool, second.ID)
			if err != nil || b.VerifyError == "" {
				t.Errorf("the damage is not recorded: %q, %v", b.VerifyError, err)
			}
			c.provision("copy", from(brokertest.BackedUp, "i"), true).want(t, "201")
		})
	}
}

// A restore keeps the bases of its backup, even if all of them are deleted meanwhile.
func TestBasesStayDuringRestore(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	data := c.filled(t, "i", brokertest.BackedUp)
	c.Backend.SetIncrements(true)
	first := c.scheduled(t, "i")
	second := c.scheduled(t, "i")
	failed := false
	c.Archive.OnCall(func(call string) error {
		if call == "check" && !failed {
			failed = true
			if err := c.Store.MarkBackupsDeleting(t.Context(), c.Store.Pool, []string{first.ID, second.ID}); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if a := c.provision("copy", from(brokertest.BackedUp, "i"), true); a.word != "201" {
		state, poll := c.poll("copy", "", a.operation)
		t.Fatalf("the answer is %s; the operation is %s: %s", a.word, state, poll.Description)
	}
	if diff := cmp.Diff(data, c.Backend.Data("copy")); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	c.Archive.OnCall(nil)
	eventually(t, "both are deleted afterwards", func() bool { objects, _ := c.Archive.Objects(); return len(objects) == 0 })
}
