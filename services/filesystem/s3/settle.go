package s3

import (
	"context"
	"errors"
)

// The gateway can only be given a bucket's policy as a whole, and has no way to
// say "if it is still what I read". So the policy is never read and changed: it
// is made of the state, which is elsewhere and changed one piece at a time, and
// whoever wrote the policy looks at the state again. If that has changed
// meanwhile he writes again; so the last one to write has seen all changes
// before his, and those after it are somebody's who will write after him.

// state asks the gateway for an instance's state. The accounts of the binding
// named without, if there is one, are removed.
func (b *backend) state(ctx context.Context, instance, without string) (state, error) {
	keys, err := b.gateway.accessKeys(ctx)
	if err != nil {
		return state{}, err
	}
	var s state
	for _, a := range of(instance, b.names.ours(keys)) {
		if a.binding != without {
			s.accounts = append(s.accounts, a)
		} else if err := b.gateway.deleteAccount(ctx, b.names.accessKey(a)); err != nil {
			return state{}, err
		}
	}
	s.overQuota, err = b.gateway.overQuota(ctx, b.names.bucketOf(instance))
	return s, err
}

// settleAttempts is how many changes of others one settling follows.
const settleAttempts = 20

// settle writes the policy that follows from the instance's state, which the
// caller has just read, and looks after without as state does. It is
// noSuchBucket where there is no bucket.
func (b *backend) settle(ctx context.Context, instance string, s state, without string) error {
	bucket := b.names.bucketOf(instance)
	for range settleAttempts {
		text, err := b.names.policy(instance, s)
		if err != nil {
			return err
		}
		written := b.gateway.putPolicy(ctx, bucket, text)
		if written != nil && !is(written, malformedPolicy) { // which it is when an account is gone
			return written
		}
		now, err := b.state(ctx, instance, without)
		if err != nil {
			return err
		}
		if now.equal(s) {
			return written
		}
		s = now
	}
	return errors.New("write the bucket's policy: its bindings change too fast; this is tried again")
}
