package s3

import (
	"context"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/naming"
)

// namer names what is made on the gateway. The prefix lets brokers share a gateway.
type namer struct {
	prefix          string // with its hyphen
	bucket, account naming.Rule
}

func newNamer(prefix string) namer {
	p := prefix + "-"
	return namer{
		prefix:  p,
		bucket:  naming.NewRule(p + naming.Safe),
		account: naming.NewRule(p + naming.Safe + `-` + naming.Safe + `-(rw|ro)`),
	}
}

// bucketOf is the name of an instance's bucket.
func (n namer) bucketOf(instance string) string { return n.prefix + instance }

// account is a binding's account. Its name, the access key, holds all that the policy needs.
type account struct {
	instance, binding string
	role              access.Role
}

// accessKey is the name of the account.
func (n namer) accessKey(a account) string {
	return n.prefix + a.instance + "-" + a.binding + "-" + objectstore.RoleSuffix(a.role)
}

// parse reads an access key that accessKey made.
func (n namer) parse(accessKey string) (account, bool) {
	a := account{role: access.ReadWrite}
	var ok bool
	if strings.HasSuffix(accessKey, objectstore.RoleSuffix(access.ReadOnly)) {
		a.role = access.ReadOnly
	}
	a.instance, a.binding, ok = n.account.Binding(accessKey)
	return a, ok
}

// accounts are those of this broker's bindings.
func (b *backend) accounts(ctx context.Context) (found []account, err error) {
	keys, err := b.gateway.accessKeys(ctx)
	for _, key := range keys {
		if a, ok := b.names.parse(key); ok {
			found = append(found, a)
		}
	}
	return found, err
}

// accountsOf are those of an instance's bindings.
func (b *backend) accountsOf(ctx context.Context, instance string) ([]account, error) {
	all, err := b.accounts(ctx)
	return slices.DeleteFunc(all, func(a account) bool { return a.instance != instance }), err
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return "bucket " + b.names.bucketOf(inst.Name) }

// List implements services.Lister.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	buckets, err := b.gateway.buckets(ctx)
	if err != nil {
		return nil, err
	}
	accounts, err := b.accounts(ctx)
	if err != nil {
		return nil, err
	}
	snapshots, err := b.snapshots.Subvolumes()
	if err != nil {
		return nil, err
	}
	var found []services.Resource
	listed := map[string]bool{}
	for i, bucket := range slices.Concat(buckets, snapshots) {
		instance, ours := b.names.bucket.Instance(bucket)
		if !ours || listed[bucket] {
			continue
		}
		listed[bucket] = true
		name := "bucket " + bucket
		if i >= len(buckets) { // a crash has left them alone
			name = "snapshots of bucket " + bucket
		}
		found = append(found, services.Resource{Instance: instance, Name: name})
	}
	for _, a := range accounts {
		found = append(found, services.Resource{Instance: a.instance, Binding: a.binding, Name: "account " + b.names.accessKey(a)})
	}
	return found, nil
}
