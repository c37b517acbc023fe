package rgw

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/ceph/go-ceph/rgw/admin"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

var (
	_ services.Streamer[Plan, InstanceParams] = (*backend)(nil)
	_ services.Incrementer                    = (*backend)(nil)
)

// Backup implements services.Streamer. It reads the objects as a binding does: they belong to
// the users of bindings, and the gateway does not let the bucket's owner read them.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (contents services.Contents, err error) {
	err = b.copying(ctx, r.Instance.Name, access.ReadOnly, func(s3 *objectstore.Client) (err error) {
		contents, err = s3.Backup(ctx, b.names.bucketOf(r.Instance.Name), r.Writer, r.Base)
		return err
	})
	return contents, err
}

// Restore implements services.Streamer. Objects then belong to the user of bindings.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (result services.RestoreResult, err error) {
	err = b.copying(ctx, r.Instance.Name, access.ReadWrite, func(s3 *objectstore.Client) (err error) {
		from := objectstore.Stream{Contents: r.Contents, Reader: r.Reader, Bases: r.Bases}
		result, err = s3.Restore(ctx, b.names.bucketOf(r.Instance.Name), r.Instance.Plan, from)
		return err
	})
	return result, err
}

// Increments implements services.Incrementer.
func (b *backend) Increments() bool { return true }

// copyKeysOf is how the access keys begin that exist while an instance is copied.
func (n namer) copyKeysOf(instance string) string { return n.prefix + "-" + instance + "-copy-" }

// removalTime is how long the removal of a key may take after a copy was cancelled.
const removalTime = 5 * time.Second

// copying calls work with a key of its own, and removes it. It first removes those that a crash left.
func (b *backend) copying(ctx context.Context, instance string, role access.Role, work func(*objectstore.Client) error) (err error) {
	if err := b.removeCopyKeys(ctx, instance); err != nil {
		return b.explainAbsent(instance, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
		defer cancel()
		err = errors.Join(err, b.removeCopyKeys(ctx, instance))
	}()
	key, err := b.copyKey(ctx, instance, role)
	if err != nil {
		return b.explainAbsent(instance, err)
	}
	return b.explainAbsent(instance, work(b.gateway.as(key)))
}

// copyKey makes a key of the user of a role.
func (b *backend) copyKey(ctx context.Context, instance string, role access.Role) (key admin.UserKeySpec, err error) {
	err = repeat(ctx, func() (err error) {
		name := b.names.copyKeysOf(instance) + strings.ToLower(rand.Text()[:8])
		key, err = b.gateway.createKey(ctx, b.names.user(instance, objectstore.RoleSuffix(role)), name)
		return err
	})
	if err != nil {
		return key, err
	}
	works, err := b.works(ctx, instance, key)
	if err == nil && !works {
		err = errors.New("copy the bucket: the gateway does not accept the key that it made; the broker retries")
	}
	return key, err
}

func (b *backend) removeCopyKeys(ctx context.Context, instance string) error {
	return repeat(ctx, func() error {
		keys, err := b.keys(ctx, instance)
		if err != nil {
			return err
		}
		for _, k := range keysOf(keys, b.names.copyKeysOf(instance)) {
			if err := b.gateway.removeKey(ctx, k.User, k.AccessKey); err != nil {
				return err
			}
		}
		return nil
	})
}
