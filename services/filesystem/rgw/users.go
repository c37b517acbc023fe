package rgw

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"github.com/ceph/go-ceph/rgw/admin"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/naming"
)

// owner is the user that owns an instance's bucket. Its key never leaves the broker and the
// gateway. The other users of an instance are named like the suffixes of roles.
const owner = "owner"

func roles() []access.Role { return []access.Role{access.ReadWrite, access.ReadOnly} }

// namer names what is made on the gateway. The prefix lets brokers share a gateway.
type namer struct {
	prefix   string
	key      naming.Rule // of access keys
	instance naming.Rule // of users
}

func newNamer(prefix string) namer {
	return namer{
		prefix:   prefix,
		key:      naming.NewRule(prefix + "-" + naming.Safe + "-" + naming.Safe + "-(?:rw|ro)-[a-z2-7]+"),
		instance: naming.NewRule(prefix + "_" + naming.Safe + `\$(?:` + owner + "|rw|ro)"),
	}
}

// tenant is the instance's own namespace of users, buckets and topics.
func (n namer) tenant(instance string) string { return n.prefix + "_" + instance }

// user is the ID of one of the instance's users.
func (n namer) user(instance, name string) string { return n.tenant(instance) + "$" + name }

// bucketOf is the name of an instance's bucket.
func (n namer) bucketOf(instance string) string { return n.prefix + "-" + instance }

// keysOf is how the access keys of a binding begin.
func (n namer) keysOf(instance, binding string) string {
	return n.prefix + "-" + instance + "-" + binding + "-"
}

// newKey is a new access key of a binding. Its random end is what makes a change that arrives late
// another key, instead of another secret of the key that an application already uses.
func (n namer) newKey(instance, binding string, role access.Role) string {
	return n.keysOf(instance, binding) + objectstore.RoleSuffix(role) + "-" + strings.ToLower(rand.Text()[:8])
}

// createUser makes a user without a key, if it does not exist. It may make no bucket.
func (g *gateway) createUser(ctx context.Context, id, opMask string) error {
	none, no := -1, false
	_, err := g.api.CreateUser(ctx, admin.User{ID: id, DisplayName: "Chandler", MaxBuckets: &none, OpMask: opMask, GenerateKey: &no})
	if objectstore.Is(err, userExists) {
		return nil
	}
	return g.explain("make a user of the instance", err)
}

// createOwner makes the user that may own one bucket, if it does not exist, and returns it.
func (g *gateway) createOwner(ctx context.Context, id string) (admin.User, error) {
	one, yes := 1, true
	u, err := g.api.CreateUser(ctx, admin.User{ID: id, DisplayName: "Chandler", MaxBuckets: &one, GenerateKey: &yes})
	if objectstore.Is(err, userExists) {
		return g.user(ctx, id)
	}
	u.ID = id // the gateway answers without the tenant
	return u, g.explain("make the owner of the bucket", err)
}

// user returns a user with its keys; noSuchUser if it does not exist.
func (g *gateway) user(ctx context.Context, id string) (admin.User, error) {
	u, err := g.api.GetUser(ctx, admin.User{ID: id})
	u.ID = id // as above
	return u, g.explain("read a user of the instance", err)
}

// asOwner is a client of the S3 API as the owner of an instance's bucket.
func (g *gateway) asOwner(ctx context.Context, u admin.User) (*objectstore.Client, error) {
	if len(u.Keys) == 0 { // somebody removed it
		yes := true
		keys, err := g.api.CreateKey(ctx, admin.UserKeySpec{UID: u.ID, GenerateKey: &yes})
		if err != nil {
			return nil, g.explain("make a key of the bucket's owner", err)
		}
		u.Keys = *keys
	}
	if len(u.Keys) == 0 {
		return nil, g.explain("make a key of the bucket's owner", &callError{errNotUnderstood})
	}
	return g.as(u.Keys[0]), nil
}

// removeUser removes a user and its keys. An absent one is not an error.
func (g *gateway) removeUser(ctx context.Context, id string) error {
	err := g.api.RemoveUser(ctx, admin.User{ID: id})
	if objectstore.Is(err, noSuchUser) {
		return nil
	}
	return g.explain("remove a user of the instance", err)
}

// createKey makes an access key of a user. The gateway chooses the secret, because it would log
// one that is in the request.
func (g *gateway) createKey(ctx context.Context, user, accessKey string) (admin.UserKeySpec, error) {
	yes := true
	keys, err := g.api.CreateKey(ctx, admin.UserKeySpec{UID: user, AccessKey: accessKey, GenerateKey: &yes})
	if err != nil {
		return admin.UserKeySpec{}, g.explain("make the binding's key", err)
	}
	i := slices.IndexFunc(*keys, func(k admin.UserKeySpec) bool { return k.AccessKey == accessKey && k.SecretKey != "" })
	if i < 0 {
		return admin.UserKeySpec{}, g.explain("make the binding's key", &callError{errNotUnderstood})
	}
	return (*keys)[i], nil
}

// removeKey removes a user's access key. An absent one is not an error.
func (g *gateway) removeKey(ctx context.Context, user, accessKey string) error {
	err := g.api.RemoveKey(ctx, admin.UserKeySpec{UID: user, AccessKey: accessKey})
	if objectstore.Is(err, noSuchUser, noSuchKey) {
		return nil
	}
	return g.explain("remove the binding's key", err)
}

// setQuota sets the limits of the one bucket that a user owns.
func (g *gateway) setQuota(ctx context.Context, user string, p Plan) error {
	want := quota(p)
	want.UID = user
	return g.explain("set the bucket's quota", g.api.SetBucketQuota(ctx, want))
}

// quota is a plan's; -1 is no limit.
func quota(p Plan) admin.QuotaSpec {
	limit := func(n int64) *int64 {
		if n == 0 {
			n = -1
		}
		return &n
	}
	enabled := p.Limits().Any()
	return admin.QuotaSpec{Enabled: &enabled, MaxSize: limit(int64(p.Storage)), MaxObjects: limit(int64(p.Objects))}
}

// hasQuota says whether a user's quota is the plan's.
func hasQuota(u admin.User, p Plan) bool {
	got, want := u.BucketQuota, quota(p)
	if got.Enabled == nil || *got.Enabled != *want.Enabled {
		return false
	}
	same := func(a, b *int64) bool { return a != nil && *a == *b }
	return !*want.Enabled || same(got.MaxSize, want.MaxSize) && same(got.MaxObjects, want.MaxObjects)
}
