package s3

import (
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/naming"
)

// namer names what is made on the gateway. All names begin with the prefix, so
// that brokers can share a gateway.
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

// resource is a bucket's name for operators.
func resource(bucket string) string { return "bucket " + bucket }

// account is a binding's account on the gateway. Its name is the application's access key
// and says all that the bucket's policy needs: the policy can be made from the list of
// accounts alone.
type account struct {
	instance, binding string
	role              access.Role
}

var roleSuffixes = map[access.Role]string{access.ReadWrite: "rw", access.ReadOnly: "ro"}

// accessKey is the name of the account.
func (n namer) accessKey(a account) string {
	return n.prefix + a.instance + "-" + a.binding + "-" + roleSuffixes[a.role]
}

// parse reads an access key that accessKey made.
func (n namer) parse(accessKey string) (account, bool) {
	a := account{role: access.ReadWrite}
	var ok bool
	if strings.HasSuffix(accessKey, roleSuffixes[access.ReadOnly]) {
		a.role = access.ReadOnly
	}
	a.instance, a.binding, ok = n.account.Binding(accessKey)
	return a, ok
}

// ours are the accounts that this broker made, among all access keys.
func (n namer) ours(accessKeys []string) []account {
	var found []account
	for _, key := range accessKeys {
		if a, ok := n.parse(key); ok {
			found = append(found, a)
		}
	}
	return found
}

// of are the accounts of one instance.
func of(instance string, accounts []account) []account {
	return slices.DeleteFunc(slices.Clone(accounts), func(a account) bool { return a.instance != instance })
}
