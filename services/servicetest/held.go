package servicetest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/services"
)

// testHeldBackups makes backups that the server holds, and provisions instances from them.
func testHeldBackups(t *testing.T, h *harness) {
	f := h.driver.Functions
	if f.CreateBackup == nil {
		t.Skip("the backend's server holds no backups")
	}
	if f.Backup != nil {
		t.Error("the backend is a Streamer, too: the engine would not use that")
	}
	if h.Fill == nil {
		t.Fatal("the suite needs Fill")
	}
	for name, test := range map[string]func(*testing.T, *harness){
		"round trip":            testHeldRoundTrip,
		"outlives its instance": testHeldOutlives,
		"unknown":               testUnknownHeld,
	} {
		t.Run(name, func(t *testing.T) {
			if h.Slow {
				t.Parallel()
			}
			test(t, h.apart(t))
		})
	}
}

// backedUp makes a backup of an instance, twice, which is deleted at the end of t.
func (h *harness) backedUp(t *testing.T, r *resource) services.HeldBackup {
	t.Helper()
	b := h.unmade(t, r)
	var first, again services.CreateBackupResult
	h.must(t, "create a backup", func(ctx context.Context) (err error) { first, err = h.createBackup(ctx, r, b); return err })
	h.must(t, "create it again", func(ctx context.Context) (err error) { again, err = h.createBackup(ctx, r, b); return err })
	if first != again || first.Format == "" {
		t.Errorf("created %+v, and then %+v", first, again)
	}
	h.expectHeld(t, r, b)
	return b
}

// unmade describes a backup, which is deleted at the end of t.
func (h *harness) unmade(t *testing.T, r *resource) services.HeldBackup {
	b := services.HeldBackup{Instance: services.InstanceName(r.raw.ID), ID: uuid.NewString()}
	t.Cleanup(func() { succeeds(t, "clean up", h.deleteBackup(t, b)) })
	return b
}

func (h *harness) createBackup(ctx context.Context, r *resource, b services.HeldBackup) (services.CreateBackupResult, error) {
	return h.driver.Functions.CreateBackup(ctx, services.RawCreateBackup{Instance: r.raw, BackupID: b.ID})
}

func (h *harness) deleteBackup(t *testing.T, b services.HeldBackup) error {
	t.Helper()
	return h.call(t, func(ctx context.Context) error {
		_, err := h.driver.Functions.DeleteBackup(ctx, b)
		return err
	})
}

// clockSkew is how far the server's clock may be from this machine's.
const clockSkew = 10 * time.Minute

// expectHeld fails t unless the server holds exactly these backups of an instance.
func (h *harness) expectHeld(t *testing.T, r *resource, want ...services.HeldBackup) {
	t.Helper()
	var list []services.HeldBackup
	h.must(t, "list the backups", func(ctx context.Context) (err error) {
		list, err = h.driver.Functions.ListBackups(ctx, services.None{})
		return err
	})
	found := map[string]int{}
	for _, b := range list {
		if b.Instance != services.InstanceName(r.raw.ID) {
			continue
		}
		found[b.ID]++
		if time.Since(b.Created).Abs() > clockSkew {
			t.Errorf("backup %s was created at %s", b.ID, b.Created)
		}
	}
	for _, b := range want {
		if found[b.ID] != 1 {
			t.Errorf("backup %s is listed %d times", b.ID, found[b.ID])
		}
		delete(found, b.ID)
	}
	if len(found) > 0 {
		t.Errorf("backups that are not expected: %v", found)
	}
}

func (h *harness) provisionFrom(ctx context.Context, r *resource, b services.HeldBackup) error {
	_, err := h.driver.Functions.Provision(ctx, services.RawProvision{Instance: r.raw, RestoreFrom: &b})
	return err
}

// provisionedFrom provisions an instance from a backup, twice.
func (h *harness) provisionedFrom(t *testing.T, b services.HeldBackup, plan json.RawMessage) *resource {
	t.Helper()
	r := h.instance(t, freshID(t), plan, h.Create[0])
	h.twice(t, "provision from a backup", func() error {
		return h.call(t, func(ctx context.Context) error { return h.provisionFrom(ctx, r, b) })
	})
	h.expectListed(t, r)
	return r
}

// holdsData fails t unless an instance has the original's data. It returns the instance with a
// binding.
func (h *harness) holdsData(t *testing.T, r *resource, o original) original {
	t.Helper()
	next := original{occupiedInstance: occupiedInstance{resource: r}, same: o.same}
	next.first, next.credentials = h.bound(t, r, h.Bind[0])
	h.reads(t, h.dialled(t, next.credentials), "key of the first", "value")
	o.same(t, delivered(t, next.credentials.Values))
	h.works(t, next.credentials)
	return next
}

// testHeldRoundTrip restores a backup while its instance is in use.
func testHeldRoundTrip(t *testing.T, h *harness) {
	source := h.filled(t)
	session := h.dialled(t, source.credentials)
	b := h.backedUp(t, source.resource)
	h.lives(t, session, "its instance was backed up")
	h.writes(t, session, "key of the first", "changed")

	plan := h.Plan
	if h.OtherPlan != nil {
		plan = h.OtherPlan
	}
	target := h.provisionedFrom(t, b, plan)
	restored := h.holdsData(t, target, source)
	h.Reach(t, delivered(t, source.credentials.Values), delivered(t, restored.credentials.Values))
	h.Reach(t, delivered(t, restored.credentials.Values), delivered(t, source.credentials.Values))
	h.rejectsBackup(t, "under the name of another instance", services.HeldBackup{Instance: services.InstanceName(target.raw.ID), ID: b.ID})
	h.twice(t, "delete the backup", func() error { return h.deleteBackup(t, b) })
	h.expectHeld(t, source.resource)
	h.lives(t, session, "its instance's backup was deleted")
	h.reads(t, session, "key of the first", "changed")
	h.works(t, restored.credentials)

	succeeds(t, "unbind", h.unbind(t, target, restored.first))
	h.refused(t, restored.credentials)
	succeeds(t, "deprovision the copy", h.deprovision(t, target))
	h.nothingLeft(t, target)
	h.reads(t, session, "key of the first", "changed")
	succeeds(t, "deprovision the original", h.deprovision(t, source.resource))
	h.nothingLeft(t, source.resource)
}

// testHeldOutlives deletes an instance before its backup, and then the backup before the instance
// that was restored.
func testHeldOutlives(t *testing.T, h *harness) {
	source := h.filled(t)
	session := h.dialled(t, source.credentials)
	first := h.backedUp(t, source.resource)
	h.twice(t, "deprovision an instance with a backup", func() error { return h.deprovision(t, source.resource) })
	h.expectEnded(t, session)
	h.refused(t, source.credentials)
	if found := h.listed(t, source.resource); len(found) > 0 {
		t.Errorf("still listed: %v", found)
	}
	h.expectHeld(t, source.resource, first)
	if _, err := h.bind(t, source.resource, source.binding(t, freshID(t), h.Bind[0])); err == nil {
		t.Error("bind to a deleted instance succeeded")
	}

	target := h.provisionedFrom(t, first, h.Plan)
	restored := h.holdsData(t, target, source)
	second := h.backedUp(t, target)
	succeeds(t, "delete the backup", h.deleteBackup(t, first))
	h.expectHeld(t, source.resource)
	h.expectHeld(t, target, second)
	restored.works(t, h)
	succeeds(t, "deprovision the copy", h.deprovision(t, target))

	last := h.provisionedFrom(t, second, h.Plan)
	h.holdsData(t, last, source)
	succeeds(t, "delete the second backup", h.deleteBackup(t, second))
	succeeds(t, "deprovision the last", h.deprovision(t, last))
	for _, r := range []*resource{source.resource, target, last} {
		h.expectHeld(t, r)
		h.nothingLeft(t, r)
	}
}

// testUnknownHeld restores what is no backup, or another instance's.
func testUnknownHeld(t *testing.T, h *harness) {
	o := h.occupy(t)
	unknown := h.unmade(t, o.resource)
	h.twice(t, "delete an unknown backup", func() error { return h.deleteBackup(t, unknown) })
	for name, b := range map[string]services.HeldBackup{
		"of an instance without one": unknown,
		"of an unknown instance":     {Instance: services.InstanceName(freshID(t)), ID: uuid.NewString()},
	} {
		h.twice(t, "delete one "+name, func() error { return h.deleteBackup(t, b) })
		h.rejectsBackup(t, name, b)
	}
	o.works(t, h)
}

// rejectsBackup fails t unless an instance cannot be provisioned from a backup.
func (h *harness) rejectsBackup(t *testing.T, name string, b services.HeldBackup) {
	t.Helper()
	r := h.instance(t, freshID(t), h.Plan, h.Create[0])
	err := h.call(t, func(ctx context.Context) error { return h.provisionFrom(ctx, r, b) })
	if _, rejected := services.IsRejected(err); !rejected {
		t.Errorf("a backup %s: %v, want an error built by Rejected", name, err)
	}
	succeeds(t, "deprovision", h.deprovision(t, r))
	h.nothingLeft(t, r)
}

// heldSteps are those of a BackupHolder.
func (h *harness) heldSteps() []step {
	if h.driver.Functions.CreateBackup == nil {
		return nil
	}
	return []step{
		{name: "create backup", prepare: h.createBackupStep},
		{name: "delete backup", prepare: h.deleteBackupStep},
		{name: "provision from backup", prepare: h.restoreStep},
	}
}

func (h *harness) createBackupStep(t *testing.T) attempt {
	o := h.occupy(t)
	b := h.unmade(t, o.resource)
	return attempt{
		verb: func(ctx context.Context, h *harness) error { _, err := h.createBackup(ctx, o.resource, b); return err },
		check: func(t *testing.T, h *harness) {
			h.expectHeld(t, o.resource, b)
			o.works(t, h)
		},
		undo: func(t *testing.T, h *harness) error { return h.deleteBackup(t, b) },
		checkUndo: func(t *testing.T, h *harness) {
			h.expectHeld(t, o.resource)
			o.works(t, h)
		},
	}
}

func (h *harness) deleteBackupStep(t *testing.T) attempt {
	o := h.occupy(t)
	b := h.backedUp(t, o.resource)
	succeeds(t, "deprovision", h.deprovision(t, o.resource))
	return attempt{
		verb: func(ctx context.Context, h *harness) error {
			_, err := h.driver.Functions.DeleteBackup(ctx, b)
			return err
		},
		check: func(t *testing.T, h *harness) {
			h.expectHeld(t, o.resource)
			h.nothingLeft(t, o.resource)
		},
	}
}

func (h *harness) restoreStep(t *testing.T) attempt {
	o := h.occupy(t)
	b := h.backedUp(t, o.resource)
	r := h.instance(t, freshID(t), h.Plan, h.Create[0])
	return attempt{
		verb: func(ctx context.Context, h *harness) error { return h.provisionFrom(ctx, r, b) },
		check: func(t *testing.T, h *harness) {
			h.expectListed(t, r)
			_, credentials := h.bound(t, r, h.Bind[0])
			h.reads(t, h.dialled(t, credentials), "key of the first", "value")
			h.works(t, credentials)
			o.works(t, h)
		},
		undo: func(t *testing.T, h *harness) error { return h.deprovision(t, r) },
		checkUndo: func(t *testing.T, h *harness) {
			h.nothingLeft(t, r)
			h.expectHeld(t, o.resource, b)
			o.works(t, h)
		},
	}
}
