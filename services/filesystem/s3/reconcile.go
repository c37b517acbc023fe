package s3

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
)

const (
	// keepFor is how long one round looks after its instances, keepOneFor how
	// long after a single one.
	keepFor    = 10 * time.Second
	keepOneFor = time.Second
)

// Reconcile implements services.Reconciler: it holds buckets to their plan's limits, and
// puts a policy right that is not what follows from the bucket's bindings.
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
	b.round.Lock()
	defer b.round.Unlock()
	end, late := time.Now().Add(keepFor), len(r.Instances)
	for i := range r.Instances {
		// Those that the last round had no time for come first.
		inst := r.Instances[(b.turn+i)%len(r.Instances)]
		if late > i && time.Now().After(end) {
			late = i
		}
		note, err := b.keep(ctx, inst, accounts[inst.Name], end)
		condition := services.Condition{Reason: services.OverQuota, Message: note}
		switch {
		case is(err, noSuchBucket): // being made or removed
			b.forget(inst.Name)
			condition, err = services.Condition{}, nil
		case err != nil:
			condition, err = services.LimitsNotEnforced(), fmt.Errorf("bucket of instance %s: %w", inst.ID, err)
		}
		result.Record(inst.ID, condition, err)
	}
	b.turn = (b.turn + late) % len(r.Instances)
	return result, nil
}

// keep looks after one instance.
func (b *backend) keep(ctx context.Context, inst instance, accounts []account, end time.Time) (note string, err error) {
	bucket := b.names.bucketOf(inst.Name)
	over, err := b.gateway.over(ctx, bucket)
	if err != nil {
		return "", err
	}
	used, hard, err := b.folder.Used(bucket)
	if err != nil {
		return "", err
	}
	limits, atLimit := inst.Plan, ""
	if hard { // storage is the file system's to hold
		limits.Storage, atLimit = 0, hardNote(used, inst.Plan.Storage)
	}
	want, note, err := b.measure(ctx, inst.Name, limits, over, end)
	if err != nil {
		return "", err
	}
	if want != over {
		if err := b.gateway.mark(ctx, bucket, want); err != nil {
			return "", err
		}
	}
	return join(atLimit, note), b.repair(ctx, inst.Name, state{accounts: accounts, over: want})
}

// measure says whether the bucket has more than limits allow, and what its user
// should know of that.
func (b *backend) measure(ctx context.Context, name string, limits Plan, over bool, end time.Time) (bool, string, error) {
	if !limits.limited() {
		return false, "", nil
	}
	s := b.scanOf(name)
	used, now := s.last, time.Now()
	if now.After(s.next) && now.Before(end) {
		if one := now.Add(keepOneFor); one.Before(end) {
			end = one
		}
		bucket := b.names.bucketOf(name)
		s.sized = s.sized || limits.Storage == 0
		whole, err := s.advance(ctx, b.gateway, bucket, b.local(bucket), end)
		if err != nil {
			return over, "", err
		}
		if used = s.last; !whole && s.used.exceeds(limits) { // there is more to come
			used = s.used
		}
		if whole || used.exceeds(limits) {
			over = used.exceeds(limits) || (over && !used.resumes(limits))
		}
	}
	if !over {
		return false, "", nil
	}
	return true, used.note(limits), nil
}

// repair writes the policy where it is not what follows from the state. The
// caller's state may be old: before anything is written it is read anew.
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
	return b.settle(ctx, name, s, "")
}

// hardNote is what the user of a bucket should know that the file system holds
// to its limit.
func hardNote(used, limit services.Size) string {
	if limit == 0 || used < resume(limit) {
		return ""
	}
	return fmt.Sprintf("storage: %s of %s used; what needs more is refused: delete objects, or choose a larger plan", used, limit)
}

func join(one, other string) string {
	if one != "" && other != "" {
		return one + "; " + other
	}
	return one + other
}

// scanOf is the instance's scan, for the round of Reconcile that asks.
func (b *backend) scanOf(name string) *scan {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.scans[name] == nil {
		b.scans[name] = &scan{}
	}
	return b.scans[name]
}

// forget makes the next round of Reconcile count anew.
func (b *backend) forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.scans, name)
}
