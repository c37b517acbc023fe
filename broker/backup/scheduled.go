package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// beginScheduled begins the backups that are due.
func (r *Runner) beginScheduled(ctx context.Context) error {
	errs := []error{r.recordSchedules(ctx)}
	due, err := r.Store.DueSchedules(ctx, r.Store.Pool, batch)
	errs = append(errs, err)
	for _, id := range due {
		if err := r.Store.InTx(ctx, func(tx *store.Tx) error { return r.beginOne(ctx, tx, id) }); err != nil {
			errs = append(errs, fmt.Errorf("begin the scheduled backup of instance %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// schedulesEvery is every how many rounds the schedules of all instances are compared with the
// catalog's.
const schedulesEvery = 200

func (r *Runner) scheduledPlans() []*catalog.Plan {
	var plans []*catalog.Plan
	for _, s := range r.Catalog.Services() {
		for _, p := range s.Plans {
			if p.Backups != nil && p.Backups.Scheduled() {
				plans = append(plans, p)
			}
		}
	}
	return plans
}

// comparison is a pass over all instances, which compares their schedules with the catalog's.
type comparison struct {
	next  time.Time       // when the next pass begins
	plans []*catalog.Plan // those that are left of this pass
	after string          // the last instance of the first of them that was looked at
}

// batchesAtOnce is how many batches of a pass one round does: a plan may have a million instances.
const batchesAtOnce = 20

// recordSchedules records the next time of instances that are new or whose plan's schedule has
// changed.
func (r *Runner) recordSchedules(ctx context.Context) error {
	c := &r.comparison
	if len(c.plans) == 0 && time.Now().After(c.next) {
		c.plans, c.after, c.next = r.scheduledPlans(), "", time.Now().Add(schedulesEvery*r.Every)
	}
	for range batchesAtOnce {
		if len(c.plans) == 0 {
			return nil
		}
		last, err := r.recordBatch(ctx, c.plans[0], c.after)
		if err != nil {
			return err
		}
		if c.after = last; last == "" {
			c.plans = c.plans[1:]
		}
	}
	return nil
}

// recordBatch records the schedules of a batch of a plan's instances that follow one. It returns the
// last; empty: no more follow.
func (r *Runner) recordBatch(ctx context.Context, plan *catalog.Plan, after string) (last string, err error) {
	text := operation.ScheduleText(plan.Backups)
	rows, err := r.Store.UnscheduledInstances(ctx, r.Store.Pool, store.UnscheduledInstancesParams{PlanID: plan.ID, Schedule: text, After: after, Batch: batch})
	if err != nil {
		return "", fmt.Errorf("look for instances without a schedule: %w", err)
	}
	for _, i := range rows {
		next := plan.Backups.Next(time.Now(), operation.SafeName(i))
		if err := r.Store.SetSchedule(ctx, r.Store.Pool, store.SetScheduleParams{InstanceID: i.ID, Schedule: text, NextAt: next}); err != nil {
			return "", fmt.Errorf("record the schedule of instance %s: %w", i.ID, err)
		}
		last = i.ID
	}
	if len(rows) < batch {
		last = ""
	}
	return last, nil
}

// beginOne begins one backup for all that were missed. It begins none while another one is being
// made, for example because the store does not answer.
func (r *Runner) beginOne(ctx context.Context, tx *store.Tx, instanceID string) error {
	i, err := r.Store.InstanceForShare(ctx, tx, instanceID)
	if store.NotFound(err) {
		return nil // deleted at this moment, with its schedule
	} else if err != nil {
		return err
	}
	if _, err := r.Store.ScheduleForUpdate(ctx, tx, instanceID); store.NotFound(err) {
		return nil // another replica has it
	} else if err != nil {
		return err
	}
	plan, ok := r.Catalog.Plan(i.ServiceID, i.PlanID)
	if !ok || plan.Backups == nil || !plan.Backups.Scheduled() || i.Status != store.Ready {
		return r.Store.DeleteSchedule(ctx, tx, instanceID)
	}
	next := plan.Backups.Next(time.Now(), operation.SafeName(i))
	if err := r.Store.SetSchedule(ctx, tx, store.SetScheduleParams{InstanceID: i.ID, Schedule: operation.ScheduleText(plan.Backups), NextAt: next}); err != nil {
		return err
	}
	unfinished, err := r.Store.UnfinishedCopies(ctx, tx, operation.SafeName(i))
	if err != nil || len(unfinished) > 0 {
		return err
	}
	_, err = Insert(ctx, r.Store, tx, i, New{Origin: store.BySchedule})
	return err
}

// New is a backup to make.
type New struct {
	Origin store.Origin
	// Name is the user's; it may be empty.
	Name string
	// CopyID is that of the copy that makes it, if it is known already.
	CopyID string
	// Originating is who asked for it, for the audit record; nil: nobody, or its operation says.
	Originating json.RawMessage
}

// Insert inserts a backup of the instance in tx, with the copy that makes it, and the audit
// record. It returns the backup as far as it is known.
func Insert(ctx context.Context, s *store.Store, tx *store.Tx, i store.Instance, n New) (store.Backup, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return store.Backup{}, err
	}
	if n.CopyID == "" {
		copyID, err := uuid.NewV7()
		if err != nil {
			return store.Backup{}, err
		}
		n.CopyID = copyID.String()
	}
	resource := operation.SafeName(i)
	tenant := operation.NamespaceOf(i)
	tenant.Namespace, tenant.ClusterID = printable(tenant.Namespace), printable(tenant.ClusterID)
	b := store.Backup{
		ID: id.String(), InstanceID: i.ID, ResourceName: resource, Platform: i.Platform, OrganizationID: i.OrganizationID, SpaceID: i.SpaceID,
		Namespace: tenant.Namespace, ClusterID: tenant.ClusterID, ServiceID: i.ServiceID, PlanID: i.PlanID, Backend: i.Backend, BackendType: i.BackendType,
		Server: i.Server, Parameters: i.Parameters, Name: n.Name, Origin: n.Origin, State: store.BackupPending,
	}
	err = s.InsertBackup(ctx, tx, store.InsertBackupParams{
		ID: b.ID, InstanceID: b.InstanceID, ResourceName: b.ResourceName, Platform: b.Platform, OrganizationID: b.OrganizationID, SpaceID: b.SpaceID,
		Namespace: b.Namespace, ClusterID: b.ClusterID, ServiceID: b.ServiceID, PlanID: b.PlanID, Backend: b.Backend, BackendType: b.BackendType,
		Server: b.Server, Parameters: b.Parameters, Name: b.Name, Origin: b.Origin,
	})
	if err != nil {
		return b, fmt.Errorf("record the backup: %w", err)
	}
	err = s.InsertCopy(ctx, tx, store.InsertCopyParams{
		ID: n.CopyID, Kind: store.CopyBackup, BackupID: b.ID, InstanceID: i.ID, ResourceName: resource,
		Server: catalog.ServerKey(i.Backend, i.Server), State: store.CopyWaiting,
	})
	if err != nil {
		return b, fmt.Errorf("record the work on the backup: %w", err)
	}
	if err := Audit(ctx, s, tx, b, store.ActionBackup, store.EventAccepted, n.Originating); err != nil {
		return b, err
	}
	return b, operation.NotifyCopy(ctx, s, tx, n.CopyID)
}

// InsertRestore inserts the copy that restores a backup into an instance, once its operation has
// provisioned that.
func InsertRestore(ctx context.Context, s *store.Store, tx *store.Tx, b store.Backup, i store.Instance, copyID string) error {
	return insertRestore(ctx, s, tx, b, i, copyID, store.CopyHeld)
}

// InsertRecovery is InsertRestore for an instance of which something may be left, which its
// operation removes first.
func InsertRecovery(ctx context.Context, s *store.Store, tx *store.Tx, b store.Backup, i store.Instance, copyID string) error {
	return insertRestore(ctx, s, tx, b, i, copyID, store.CopyUnclean)
}

func insertRestore(ctx context.Context, s *store.Store, tx *store.Tx, b store.Backup, i store.Instance, copyID string, state store.CopyState) error {
	chain, err := Chain(ctx, s, tx, b)
	if err != nil {
		return err
	}
	err = s.InsertCopy(ctx, tx, store.InsertCopyParams{
		ID: copyID, Kind: store.CopyRestore, BackupID: b.ID, InstanceID: i.ID, ResourceName: operation.SafeName(i),
		Server: catalog.ServerKey(i.Backend, i.Server), State: state, TotalBytes: rawBytes(chain),
	})
	if err != nil {
		return fmt.Errorf("record the restore: %w", err)
	}
	return nil
}

// obsolete are the IDs of an instance's backups that its plan no longer keeps; all are in
// descending order.
func obsolete(all []store.Backup, plan *catalog.PlanBackups) []string {
	var scheduled, users []store.Backup
	for _, b := range all {
		switch {
		case b.State == store.BackupReady && b.Origin == store.BySchedule:
			scheduled = append(scheduled, b)
		case b.State == store.BackupReady && b.Origin == store.ByUser:
			users = append(users, b)
		}
	}
	made := make([]time.Time, len(scheduled))
	for i, b := range scheduled {
		made[i] = b.CreatedAt
	}
	var ids []string
	for _, i := range plan.Expired(made) {
		ids = append(ids, scheduled[i].ID)
	}
	for _, b := range users[min(len(users), plan.OnDemand):] {
		ids = append(ids, b.ID)
	}
	return ids
}
