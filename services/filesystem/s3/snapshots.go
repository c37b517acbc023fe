package s3

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

var (
	_ services.PlanChecker[Plan]                   = (*backend)(nil)
	_ services.UpdateChecker[Plan, InstanceParams] = (*backend)(nil)
	_ services.Describer[Plan, InstanceParams]     = (*backend)(nil)
)

// snapshotsMode lets the gateway, which reads the attributes of everything in its folder to list
// buckets, do no more than that.
const snapshotsMode = 0o744

// CheckPlan implements services.PlanChecker.
func (b *backend) CheckPlan(p Plan) error { return b.folder.CheckPlan("folder", p.Snapshots) }

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	return r.Instance.Params.CheckUpdate(r.Instance.Plan.Snapshots, r.Previous.Plan == r.Instance.Plan)
}

// Describe implements services.Describer.
func (b *backend) Describe(_ context.Context, inst instance) (map[string]any, error) {
	return b.snapshots.Describe(b.names.bucketOf(inst.Name), inst.Plan.Snapshots)
}

// keepsSnapshots rejects the deletion of a bucket whose snapshots the plan protects.
func (b *backend) keepsSnapshots(inst instance, bucket string) error {
	if inst.Plan.DeleteContents {
		return nil
	}
	all, err := b.snapshots.List(bucket)
	if err == nil && len(all) > 0 {
		return services.Rejected("bucket %s still has snapshots, and this plan keeps them: remove them (update with remove_snapshot), and delete the instance again", bucket)
	}
	return err
}
