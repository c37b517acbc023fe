package s3

import (
	"context"
	"errors"
)

// The gateway replaces a bucket's policy as a whole, and offers no compare-and-swap. So the
// policy is never read and changed. It is made from the state, which is elsewhere and
// changes one piece at a time. Each writer reads the state again after writing the policy,
// and writes again if that has changed: the last writer has seen all earlier changes, and
// the authors of later ones will write after it.

// state asks the gateway for an instance's state, and removes the accounts of the binding
// without, if there is one.
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

// maxWrites is how many concurrent changes one call of converge follows.
const maxWrites = 20

// converge writes the policy that follows from the instance's state, which the caller has
// just read, and removes the accounts of without as state does. It is noSuchBucket if there
// is no bucket.
func (b *backend) converge(ctx context.Context, instance string, s state, without string) error {
	bucket := b.names.bucketOf(instance)
	for range maxWrites {
		text, err := b.names.policy(instance, s)
		if err != nil {
			return err
		}
		written := b.gateway.putPolicy(ctx, bucket, text)
		if written != nil && !is(written, malformedPolicy) { // which it is if an account was deleted
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
	return errors.New("write the bucket's policy: its bindings change too fast; the broker retries")
}
