package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// Backup is a backup as the state records it.
type Backup struct {
	store.Backup
	// Server is the key of the server that its instance was on.
	Server string `json:"server"`
	// Work is what was or is done with it, as far as it is still recorded, oldest first.
	Work []store.Copy `json:"work"`
}

// Name is its name in the store of backups.
func (b Backup) Name() string { return backup.Name(b.ResourceName, b.ID) }

// Unfinished returns the last of the work in progress on the backup.
func (b Backup) Unfinished() (c store.Copy, ok bool) {
	for _, c := range slices.Backward(b.Work) {
		if !c.Finished() {
			return c, true
		}
	}
	return c, false
}

// Backups lists the backups of the state that the filter selects, the latest first. Those that are
// only made for a clone, and go with it, are not among them.
func (o *Operator) Backups(ctx context.Context, f backup.Filter) ([]Backup, error) {
	q, err := o.query(Filter{Service: f.Service, Plan: f.Plan}, nil)
	if err != nil {
		return nil, err
	}
	rows, err := pages("~", 0, func(before string, batch int32) ([]store.Backup, error) {
		return o.Store.ListBackups(ctx, o.Store.Pool, store.ListBackupsParams{
			Before: before, Platform: f.Platform, OrganizationID: f.Organization, SpaceID: f.Space,
			ServiceIds: q.serviceIDs, PlanIds: q.planIDs, Batch: batch,
		})
	}, func(b store.Backup) string { return b.ID })
	if err != nil {
		return nil, fmt.Errorf("read the backups: %w", err)
	}
	rows = slices.DeleteFunc(rows, func(b store.Backup) bool {
		return b.Origin == store.ForClone || f.Namespace != "" && b.Namespace != f.Namespace ||
			f.Instance != "" && b.InstanceID != f.Instance && b.ResourceName != f.Instance
	})
	slices.SortStableFunc(rows, func(a, b store.Backup) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return o.withWork(ctx, rows)
}

// Backup returns a backup by its ID, or by its name in the store.
func (o *Operator) Backup(ctx context.Context, name string) (Backup, error) {
	b, err := o.Store.Backup(ctx, o.Store.Pool, backupID(name))
	if err != nil {
		return Backup{}, found(err, "backup", name)
	}
	all, err := o.withWork(ctx, []store.Backup{b})
	if err != nil {
		return Backup{}, err
	}
	return all[0], nil
}

// backupID is the ID in a backup's name.
func backupID(name string) string { return name[strings.LastIndex(name, "/")+1:] }

func (o *Operator) withWork(ctx context.Context, rows []store.Backup) ([]Backup, error) {
	work := map[string][]store.Copy{}
	for chunk := range slices.Chunk(rows, pageSize) {
		copies, err := o.Store.CopiesOfBackups(ctx, o.Store.Pool, convert(chunk, func(b store.Backup) string { return b.ID }))
		if err != nil {
			return nil, fmt.Errorf("read the work on backups: %w", err)
		}
		for _, c := range copies {
			work[c.BackupID] = append(work[c.BackupID], c)
		}
	}
	return convert(rows, func(b store.Backup) Backup {
		if work[b.ID] == nil {
			work[b.ID] = []store.Copy{}
		}
		return Backup{Backup: b, Server: catalog.ServerKey(b.Backend, b.Server), Work: work[b.ID]}
	}), nil
}

// CreateBackup has a running broker make a backup of an instance. The plan's retention does not
// count it: it stays until it is deleted, or, after its instance was, as long as the others.
func (o *Operator) CreateBackup(ctx context.Context, by Actor, instanceID string) (b store.Backup, err error) {
	err = o.Store.InTx(ctx, func(tx *store.Tx) error {
		i, err := o.Store.InstanceForUpdate(ctx, tx, instanceID) // two operators at once make one
		if err != nil {
			return found(err, "instance", instanceID)
		}
		if err := o.copyable(ctx, tx, i); err != nil {
			return fmt.Errorf("instance %s: %w", instanceID, err)
		}
		b, err = backup.Insert(ctx, o.Store, tx, i, backup.New{Origin: store.ByOperator, Originating: json.RawMessage(by)})
		return err
	})
	return b, err
}

func (o *Operator) copyable(ctx context.Context, tx *store.Tx, i store.Instance) error {
	plan, ok := o.Catalog.Plan(i.ServiceID, i.PlanID)
	switch {
	case !ok:
		return fmt.Errorf("its plan %s is not in the catalog", i.PlanID)
	case plan.Backups == nil:
		return fmt.Errorf("its plan %q has no backups; give the plan a section backups in the catalog", plan.Name)
	case i.Status != store.Ready && i.Status != store.Retained:
		return fmt.Errorf("its status is %s, and has to be %s", i.Status, store.Ready)
	}
	unfinished, err := o.Store.UnfinishedCopies(ctx, tx, operation.SafeName(i))
	if err != nil {
		return err
	}
	for _, c := range unfinished {
		if c.Kind == store.CopyBackup {
			return fmt.Errorf("backup %s is being made already", c.BackupID)
		}
	}
	return nil
}

// VerifyBackup has a running broker restore a backup into a scratch instance, compare the two and
// remove the scratch instance.
func (o *Operator) VerifyBackup(ctx context.Context, by Actor, name string) error {
	return o.Store.InTx(ctx, func(tx *store.Tx) error {
		b, err := o.Store.BackupForShare(ctx, tx, backupID(name))
		if err != nil {
			return found(err, "backup", name)
		}
		if b.State != store.BackupReady {
			return fmt.Errorf("backup %s is %s, and has to be %s", name, b.State, store.BackupReady)
		}
		work, err := o.Store.CopiesOfBackups(ctx, tx, []string{b.ID})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(work, func(c store.Copy) bool { return c.Kind == store.CopyVerify && !c.Finished() }) {
			return nil // it is being verified
		}
		return errors.Join(backup.InsertVerification(ctx, o.Store, tx, b),
			backup.Audit(ctx, o.Store, tx, b, store.ActionVerify, store.EventAccepted, json.RawMessage(by)))
	})
}

// DeleteBackup has a running broker delete a backup, and with an instance's last one its key.
func (o *Operator) DeleteBackup(ctx context.Context, by Actor, name string) error {
	return o.Store.InTx(ctx, func(tx *store.Tx) error {
		b, err := o.Store.Backup(ctx, tx, backupID(name))
		switch {
		case err != nil:
			return found(err, "backup", name)
		case b.State == store.BackupDeleting:
			return nil
		case b.State == store.BackupPending:
			return fmt.Errorf("backup %s is being made; repeat the command when that has ended", name)
		case b.Origin == store.ForClone:
			return fmt.Errorf("backup %s is the source of a clone, and deleted with that operation", name)
		}
		return errors.Join(o.Store.MarkBackupsDeleting(ctx, tx, []string{b.ID}),
			backup.Audit(ctx, o.Store, tx, b, store.ActionDeleteBackup, store.EventAccepted, json.RawMessage(by)))
	})
}

// AwaitBackup waits until nothing is being done with a backup, and returns it.
func (o *Operator) AwaitBackup(ctx context.Context, id string, kind store.CopyKind) (Backup, error) {
	for pause := 200 * time.Millisecond; ; pause = min(pause*3/2, 5*time.Second) {
		b, err := o.Backup(ctx, id)
		if err != nil {
			return b, err
		}
		if !slices.ContainsFunc(b.Work, func(c store.Copy) bool { return c.Kind == kind && !c.Finished() }) {
			return b, nil
		}
		select {
		case <-ctx.Done():
			return b, ctx.Err()
		case <-time.After(pause):
		}
	}
}
