package s3

import (
	"regexp"
	"slices"
)

// namer names what is made on the gateway. All names begin with the prefix, so
// that brokers can share a gateway.
type namer struct {
	prefix  string // with its hyphen
	bucket  *regexp.Regexp
	account *regexp.Regexp
}

const safeName = `([a-z2-7]{26})`

func newNamer(prefix string) namer {
	p := prefix + "-"
	return namer{
		prefix:  p,
		bucket:  regexp.MustCompile(`^` + p + safeName + `$`),
		account: regexp.MustCompile(`^` + p + safeName + `-` + safeName + `-(rw|ro)$`),
	}
}

// bucketOf is the name of an instance's bucket.
func (n namer) bucketOf(instance string) string { return n.prefix + instance }

// resource is a bucket as operators are told of it.
func resource(bucket string) string { return "bucket " + bucket }

// account is a binding's account on the gateway. Its name is the application's
// access key, and tells all that the bucket's policy has to know: so the policy
// can be made anew at any time of nothing but the list of accounts.
type account struct{ instance, binding, role string }

var roleSuffixes = map[string]string{readWrite: "rw", readOnly: "ro"}

// accessKey is the name of the account.
func (n namer) accessKey(a account) string {
	return n.prefix + a.instance + "-" + a.binding + "-" + roleSuffixes[a.role]
}

// instanceOf returns the Instance.Name behind a bucket's name.
func (n namer) instanceOf(bucket string) (string, bool) {
	m := n.bucket.FindStringSubmatch(bucket)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// parse reads an access key that accessKey made.
func (n namer) parse(accessKey string) (account, bool) {
	m := n.account.FindStringSubmatch(accessKey)
	if m == nil {
		return account{}, false
	}
	role := readWrite
	if m[3] == roleSuffixes[readOnly] {
		role = readOnly
	}
	return account{instance: m[1], binding: m[2], role: role}, true
}

// ours are the accounts among all access keys that this broker made.
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
