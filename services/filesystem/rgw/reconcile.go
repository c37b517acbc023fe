package rgw

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/ceph/go-ceph/rgw/admin"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/usage"
)

// Reconcile implements services.Reconciler: it repairs quotas and policies, and tells users who
// are at a limit. The gateway enforces the limits.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (services.ReconcileResult, error) {
	if len(r.Instances) == 0 {
		return services.ReconcileResult{}, nil
	}
	return usage.Reconcile(&b.scans, "bucket", r.Instances, func(inst instance, end time.Time) (string, error) {
		note, err := b.reconcileBucket(ctx, inst, end)
		if objectstore.Is(err, objectstore.NoSuchBucket, noSuchUser) {
			err = usage.ErrAbsent
		}
		return note, err
	}), nil
}

func (b *backend) reconcileBucket(ctx context.Context, inst instance, end time.Time) (note string, err error) {
	if err := b.repair(ctx, inst); err != nil {
		return "", err
	}
	used, _, err := b.scans.Measure(ctx, inst.Name, inst.Plan.Limits(), false, end, func() usage.Counter {
		return &counter{g: b.gateway, bucket: b.names.tenant(inst.Name) + "/" + b.names.bucketOf(inst.Name)}
	})
	if err != nil {
		return "", err
	}
	objects := ""
	if !usage.MayResume(used.Items, inst.Plan.Objects) {
		objects = fmt.Sprintf("objects: %d of %d; writes that exceed this are refused: delete objects, or choose a larger plan", used.Items, inst.Plan.Objects)
	}
	return usage.Join(usage.NearLimit(used.Bytes, inst.Plan.Storage, "objects"), objects), nil
}

// repair restores the quota and the policy if somebody changed them.
func (b *backend) repair(ctx context.Context, inst instance) error {
	u, err := b.gateway.user(ctx, b.names.user(inst.Name, owner))
	if err != nil {
		return err
	}
	if !hasQuota(u, inst.Plan) {
		if err := b.gateway.setQuota(ctx, u.ID, inst.Plan); err != nil {
			return err
		}
	}
	s3, err := b.gateway.asOwner(ctx, u)
	if err != nil {
		return err
	}
	written, err := s3.Policy(ctx, b.names.bucketOf(inst.Name))
	if err != nil {
		return err
	}
	policy, err := b.names.policy(inst.Name)
	if err != nil || bytes.Equal(written, policy) {
		return err
	}
	return s3.PutPolicy(ctx, b.names.bucketOf(inst.Name), policy)
}

// counter reads what the gateway counted in one bucket.
type counter struct {
	g      *gateway
	bucket string // with its tenant
	used   usage.Amount
}

// Amount implements usage.Counter.
func (c *counter) Amount() usage.Amount { return c.used }

// Advance implements usage.Counter.
func (c *counter) Advance(ctx context.Context, _ time.Time) (done bool, err error) {
	info, err := c.g.api.GetBucketInfo(ctx, admin.Bucket{Bucket: c.bucket})
	if err != nil {
		return false, c.g.explain("read the bucket's use", err)
	}
	c.used = usage.Amount{}
	for _, part := range []admin.RgwUsage{info.Usage.RgwMain, info.Usage.RgwMultimeta} {
		c.used.Bytes += number[services.Size](part.SizeActual)
		c.used.Items += number[int](part.NumObjects)
	}
	return true, nil
}

func number[N ~int | ~int64](n *uint64) N {
	if n == nil {
		return 0
	}
	return N(*n) //nolint:gosec // a bucket's size
}
