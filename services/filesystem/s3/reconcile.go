package s3

import (
	"bytes"
	"context"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

// Reconcile implements services.Reconciler: it enforces the plans' limits, and repairs
// policies that do not follow from their bucket's bindings.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	if len(r.Instances) == 0 {
		return result, nil
	}
	keys, err := b.gateway.accessKeys(ctx)
	if err != nil {
		return result, err
	}
	accounts := map[string][]account{}
	for _, a := range b.names.ours(keys) {
		accounts[a.instance] = append(accounts[a.instance], a)
	}
	return usage.Reconcile(&b.scans, "bucket", r.Instances, func(inst instance, end time.Time) (string, error) {
		note, err := b.reconcileBucket(ctx, inst, accounts[inst.Name], end)
		if is(err, noSuchBucket) {
			err = usage.ErrAbsent
		}
		return note, err
	}), nil
}

func (b *backend) reconcileBucket(ctx context.Context, inst instance, accounts []account, end time.Time) (note string, err error) {
	bucket := b.names.bucketOf(inst.Name)
	overQuota, err := b.gateway.overQuota(ctx, bucket)
	if err != nil {
		return "", err
	}
	used, hard, err := b.folder.Used(bucket)
	if err != nil {
		return "", err
	}
	limits, atLimit := inst.Plan, ""
	if hard { // the file system enforces the limit of storage
		limits.Storage, atLimit = 0, usage.NearLimit(used, inst.Plan.Storage, "objects")
	}
	lock, note, err := b.measure(ctx, inst.Name, limits, overQuota, end)
	if err != nil {
		return "", err
	}
	if lock != overQuota {
		if err := b.gateway.mark(ctx, bucket, lock); err != nil {
			return "", err
		}
	}
	return usage.Join(atLimit, note), b.repair(ctx, inst.Name, state{accounts: accounts, overQuota: lock})
}

// measure says whether the bucket is to be locked, and what its user should know then.
func (b *backend) measure(ctx context.Context, name string, p Plan, locked bool, end time.Time) (lock bool, why string, err error) {
	used, lock, err := b.scans.Measure(ctx, name, p.limits(), locked, end, func() usage.Counter {
		return &counter{b: b, bucket: b.names.bucketOf(name), sized: p.Storage == 0}
	})
	if lock && err == nil {
		why = note(used, p)
	}
	return lock, why, err
}

// repair writes the policy if it does not follow from the state. The caller's state may
// be old: before anything is written it is read again.
func (b *backend) repair(ctx context.Context, name string, s state) error {
	written, err := b.gateway.policy(ctx, b.names.bucketOf(name))
	if err != nil {
		return err
	}
	for _, fresh := range []bool{false, true} {
		if fresh {
			if s, err = b.state(ctx, name, ""); err != nil {
				return err
			}
		}
		text, err := b.names.policy(name, s)
		if err != nil || bytes.Equal(text, written) {
			return err
		}
	}
	return b.converge(ctx, name, s, "")
}
