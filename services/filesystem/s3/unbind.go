package s3

import "context"

// Unbind implements services.Backend. First the gateway forgets the access key,
// which ends all use of it, then the bucket's policy forgets the account.
func (b *backend) Unbind(ctx context.Context, inst instance, bd binding) error {
	s, err := b.state(ctx, inst.Name, bd.Name)
	if err == nil {
		err = b.settle(ctx, inst.Name, s, bd.Name)
	}
	if is(err, noSuchBucket) {
		return nil
	}
	return err
}
