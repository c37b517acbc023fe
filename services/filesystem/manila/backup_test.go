package manila

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// A deleted instance with a backup keeps its share, which is not what the backup has in it: the same
// instance cannot be restored from it.
func TestRestoreOfItself(t *testing.T) {
	t.Parallel()
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, "self")
	inst := provisioned(t, b, nil)
	h := services.HeldBackup{Instance: inst.Name, ID: uuid.NewString()}
	err := servicetest.ToTheEnd(ctx, func(ctx context.Context) error {
		_, err := b.CreateBackup(ctx, services.CreateBackupRequest[Plan, InstanceParams]{Instance: inst, BackupID: h.ID})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := servicetest.ToTheEnd(testContext(t), func(ctx context.Context) error { return b.DeleteBackup(ctx, h) })
		if err != nil {
			t.Error(err)
		}
	})
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	_, err = b.Provision(ctx, services.ProvisionRequest[Plan, InstanceParams]{Instance: inst, RestoreFrom: &h})
	if _, rejected := services.IsRejected(err); !rejected {
		t.Errorf("restored from its own backup: %v", err)
	}
}
