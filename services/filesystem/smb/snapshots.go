package smb

import (
	"context"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
)

var (
	_ services.PlanChecker[Plan]                   = (*backend)(nil)
	_ services.UpdateChecker[Plan, InstanceParams] = (*backend)(nil)
	_ services.Describer[Plan, InstanceParams]     = (*backend)(nil)
)

// CheckPlan implements services.PlanChecker.
func (b *backend) CheckPlan(p Plan) error {
	return btrfs.Folder(b.folder.dir).CheckPlan("folder", p.Snapshots)
}

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	return r.Instance.Params.CheckUpdate(r.Instance.Plan.Snapshots, r.Previous.Plan == r.Instance.Plan)
}

// Describe implements services.Describer.
func (b *backend) Describe(_ context.Context, inst instance) (map[string]any, error) {
	return b.folder.snapshots().Describe(b.names.resource(inst.Name), inst.Plan.Snapshots)
}

// changeSnapshots does what an update's parameters ask for.
func (b *backend) changeSnapshots(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) error {
	share := b.names.resource(r.Instance.Name)
	return b.folder.snapshots().Apply(ctx, btrfs.Change{
		Subvolume: share, Previous: r.Previous.Params, Next: r.Instance.Params, Operation: r.Operation,
		Before: r.Previous.Plan.Snapshots, Most: r.Instance.Plan.Snapshots, Limit: r.Instance.Plan.Storage,
		Released: func(ctx context.Context, before time.Time) error { return b.endOlder(ctx, share, before) },
	})
}

// endOlder ends the use of a share that began before a time: such a session has open the folder
// that was the share's then. Its client connects again.
func (b *backend) endOlder(ctx context.Context, share string, before time.Time) error {
	isOlder := func() (bool, error) {
		uses, err := b.samba.uses(ctx)
		for _, u := range uses {
			if u.share == share && !u.since.After(before) {
				return true, err
			}
		}
		return false, err
	}
	older, err := isOlder()
	if err != nil || !older {
		return err
	}
	if err := b.samba.control(ctx, "close-share", share); err != nil {
		return err
	}
	if older, err = isOlder(); err == nil && older {
		return services.NotYet(sessionsPause, "waiting for the share's sessions to end")
	}
	return err
}
