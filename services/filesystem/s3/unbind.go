package s3

import "context"

// Unbind implements services.Backend. First the gateway forgets the access key,
// which ends all use of it, then the bucket's policy forgets the account.
func (b *backend) Unbind(ctx context.Context, inst instance, bd binding) error {
	keys, err := b.gateway.accessKeys(ctx)
	if err != nil {
		return err
	}
	var left []account
	for _, a := range of(inst.Name, b.names.ours(keys)) {
		if a.binding != bd.Name {
			left = append(left, a)
			continue
		}
		if err := b.gateway.deleteAccount(ctx, b.names.accessKey(a)); err != nil {
			return err
		}
	}
	over, err := b.gateway.over(ctx, b.names.bucketOf(inst.Name))
	if err == nil {
		err = b.settle(ctx, inst.Name, state{accounts: left, over: over})
	}
	if is(err, noSuchBucket) {
		return nil
	}
	return err
}
