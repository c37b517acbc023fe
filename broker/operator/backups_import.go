package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// Tenant is whose a backup is from now on. An empty field leaves what the manifest says.
type Tenant struct{ Platform, Organization, Space string }

// keepImported is how long an imported backup stays whose plan does not say.
const keepImported = 30 * 24 * time.Hour

// ImportBackup records a backup that only the store has, as its manifest describes it, so that its
// tenant can restore it. It reports whether the state lacked it. If the state has the instance, the
// backup stays until it is deleted; otherwise as long as those of an instance deleted now.
func (o *Operator) ImportBackup(ctx context.Context, by Actor, m backup.Manifest, to Tenant) (imported bool, err error) {
	plan, ok := o.Catalog.Plan(m.Instance.ServiceID, m.Instance.PlanID)
	switch {
	case !ok:
		return false, fmt.Errorf("the catalog has no plan %q of service %q with the IDs %s and %s; add it, with the backend on which it is to be restored",
			m.Instance.Plan, m.Instance.Service, m.Instance.PlanID, m.Instance.ServiceID)
	case plan.BackendType != m.Instance.BackendType:
		return false, fmt.Errorf("it is of %s, and plan %q of %s", m.Instance.BackendType, plan.Name, plan.BackendType)
	}
	row, err := importedRow(plan, m, to)
	if err != nil {
		return false, err
	}
	row.Server = o.Catalog.ServersOf(plan.Backend)[0].Name
	err = o.Store.InTx(ctx, func(tx *store.Tx) error {
		if err := o.likeItsInstance(ctx, tx, &row, plan); err != nil {
			return err
		}
		n, err := o.Store.ImportBackup(ctx, tx, row)
		if imported = n > 0; err != nil || !imported {
			return err
		}
		return backup.Audit(ctx, o.Store, tx, store.Backup{
			ID: row.ID, InstanceID: row.InstanceID, Platform: row.Platform, ServiceID: row.ServiceID, PlanID: row.PlanID,
		}, store.ActionImportBackup, store.EventSucceeded, json.RawMessage(by))
	})
	if err != nil {
		return false, fmt.Errorf("record the backup: %w", err)
	}
	return imported, nil
}

func importedRow(plan *catalog.Plan, m backup.Manifest, to Tenant) (row store.ImportBackupParams, err error) {
	contents, err := json.Marshal(m.Stored.Contents)
	if err != nil {
		return row, fmt.Errorf("encode the contents: %w", err)
	}
	namespace := operation.NamespaceOf(store.Instance{Context: m.Instance.Context})
	pick := func(given, own string) string {
		if given != "" {
			return given
		}
		return own
	}
	row = store.ImportBackupParams{
		ID: m.ID, InstanceID: m.Instance.ID, ResourceName: m.Instance.Name, Platform: pick(to.Platform, m.Instance.Platform),
		OrganizationID: pick(to.Organization, m.Instance.Organization), SpaceID: pick(to.Space, m.Instance.Space),
		Namespace: namespace.Namespace, ClusterID: namespace.ClusterID, ServiceID: m.Instance.ServiceID, PlanID: m.Instance.PlanID,
		Backend: plan.Backend, BackendType: plan.BackendType, Parameters: []byte("{}"), Origin: store.ByOperator, Name: m.Label,
		Object: m.Stored.Object, Contents: contents, RawBytes: m.Stored.Raw, StoredBytes: m.Stored.Stored, Sha256: m.Stored.SHA256, BaseID: m.Base, CreatedAt: m.Created,
	}
	if len(m.Instance.Parameters) > 0 {
		row.Parameters = m.Instance.Parameters
	}
	return row, nil
}

// likeItsInstance takes the server from the instance, if the state has that. Otherwise it limits
// the backup's life.
func (o *Operator) likeItsInstance(ctx context.Context, tx *store.Tx, row *store.ImportBackupParams, plan *catalog.Plan) error {
	i, err := o.Store.InstanceForShare(ctx, tx, row.InstanceID)
	switch {
	case err != nil && !store.NotFound(err):
		return err
	case err == nil && operation.SafeName(i) == row.ResourceName:
		row.Server = i.Server
		_, err := o.Store.BackupByName(ctx, tx, store.BackupByNameParams{ResourceName: row.ResourceName, Name: row.Name})
		if err == nil { // an instance has one of each name
			row.Name = ""
		}
		if store.NotFound(err) {
			return nil
		}
		return err
	}
	after := keepImported
	if plan.Backups != nil {
		after = plan.Backups.AfterDelete
	}
	expires := time.Now().Add(after)
	row.ExpiresAt = &expires
	return nil
}
