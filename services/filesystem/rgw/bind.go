package rgw

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ceph/go-ceph/rgw/admin"
	"golang.org/x/sync/errgroup"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// Bind implements services.Backend. The binding's key is a key of the user of its role.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	var key admin.UserKeySpec
	err := repeat(ctx, func() (err error) {
		key, err = b.bind(ctx, r)
		return err
	})
	if err != nil {
		return services.BindResult{}, b.explainAbsent(r.Instance.Name, err)
	}
	return services.BindResult{
		Credentials: b.public.BucketCredentials(b.names.bucketOf(r.Instance.Name), key.AccessKey, services.NewSecret(key.SecretKey)),
	}, nil
}

// bind makes the binding's key, or returns the one that an earlier attempt made. It removes others.
func (b *backend) bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (key admin.UserKeySpec, err error) {
	name, role := r.Instance.Name, r.Binding.Params.Role
	keys, err := b.keys(ctx, name)
	if err != nil {
		return key, err
	}
	mine := keysOf(keys, b.names.keysOf(name, r.Binding.Name))
	if err := r.Instance.Plan.CheckBindings(b.bindings(keys) - min(len(mine), 1)); err != nil {
		return key, err
	}
	user, found := b.names.user(name, objectstore.RoleSuffix(role)), false
	for _, k := range mine {
		if k.User == user && !found {
			if found, err = b.works(ctx, name, k); err != nil {
				return key, err
			}
			if key = k; found {
				continue
			}
		}
		if err := b.gateway.removeKey(ctx, k.User, k.AccessKey); err != nil {
			return key, err
		}
	}
	if found {
		return key, nil
	}
	if key, err = b.gateway.createKey(ctx, user, b.names.newKey(name, r.Binding.Name, role)); err != nil {
		return key, err
	}
	if found, err = b.works(ctx, name, key); err == nil && !found {
		err = errors.New("the gateway does not accept the key that it made; the broker retries")
	}
	return key, err
}

// tenants calls a function for the users that have the bindings' keys, side by side.
func (b *backend) tenants(instance string, do func(i int, user string) error) error {
	var group errgroup.Group
	for i, role := range roles() {
		group.Go(func() error { return do(i, b.names.user(instance, objectstore.RoleSuffix(role))) })
	}
	return group.Wait()
}

// keys are the keys of all bindings of an instance, with their users, in a fixed order.
func (b *backend) keys(ctx context.Context, instance string) ([]admin.UserKeySpec, error) {
	users := make([]admin.User, len(roles()))
	err := b.tenants(instance, func(i int, user string) (err error) {
		users[i], err = b.gateway.user(ctx, user)
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []admin.UserKeySpec
	for _, u := range users {
		for _, k := range u.Keys {
			k.User = u.ID
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b admin.UserKeySpec) int { return strings.Compare(a.AccessKey, b.AccessKey) })
	return all, nil
}

// bindings counts the bindings that have a key.
func (b *backend) bindings(keys []admin.UserKeySpec) int {
	names := map[string]bool{}
	for _, k := range keys {
		if _, binding, ok := b.names.key.Binding(k.AccessKey); ok {
			names[binding] = true
		}
	}
	return len(names)
}

// keysOf returns the keys that begin like that.
func keysOf(keys []admin.UserKeySpec, beginning string) []admin.UserKeySpec {
	return slices.DeleteFunc(slices.Clone(keys), func(k admin.UserKeySpec) bool { return !strings.HasPrefix(k.AccessKey, beginning) })
}

// A key whose making was interrupted is listed and not accepted. Gateways accept a new key within
// moments.
const (
	acceptChecks   = 5
	acceptInterval = 200 * time.Millisecond
)

// works says whether the gateway accepts a key. It is NoSuchBucket if there is no bucket.
func (b *backend) works(ctx context.Context, instance string, key admin.UserKeySpec) (bool, error) {
	s3 := b.gateway.as(key)
	for range acceptChecks {
		_, err := s3.First(ctx, b.names.bucketOf(instance), "")
		if !objectstore.Is(err, noSuchKey) {
			return err == nil, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(acceptInterval):
		}
	}
	return false, nil
}

// Unbind implements services.Backend. Removing the key ends all access.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	return services.UnbindResult{}, repeat(ctx, func() error { return b.unbind(ctx, r.Instance.Name, r.Binding.Name) })
}

func (b *backend) unbind(ctx context.Context, instance, binding string) error {
	return b.tenants(instance, func(_ int, user string) error {
		u, err := b.gateway.user(ctx, user)
		if objectstore.Is(err, noSuchUser) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, k := range keysOf(u.Keys, b.names.keysOf(instance, binding)) {
			if err := b.gateway.removeKey(ctx, user, k.AccessKey); err != nil {
				return err
			}
		}
		return nil
	})
}
