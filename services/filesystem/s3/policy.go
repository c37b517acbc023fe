package s3

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/chandler-broker/chandler/services/access"
)

// The actions of bindings (Amazon S3 User Guide, "Actions, resources, and condition keys").
// Others, such as those on a bucket's policy, tags and deletion, are the administrator's.
var (
	reading = []string{
		"s3:GetBucketLocation", "s3:ListBucket",
		"s3:GetObject", "s3:GetObjectAttributes", "s3:GetObjectTagging",
	}
	deleting = []string{
		"s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts",
		"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectTagging",
	}
	writing = []string{"s3:PutObject", "s3:PutObjectTagging"}
)

// state is all that a bucket's policy follows from.
type state struct {
	// accounts are those of the instance's bindings.
	accounts []account
	// overQuota says that the plan's limits are exceeded: nobody may write.
	overQuota bool
}

func (s state) equal(other state) bool {
	return s.overQuota == other.overQuota && slices.Equal(s.sorted(), other.sorted())
}

func (s state) sorted() []account {
	return slices.SortedFunc(slices.Values(s.accounts), func(a, b account) int {
		return cmp.Or(cmp.Compare(a.binding, b.binding), cmp.Compare(a.role, b.role))
	})
}

type statement struct {
	Effect    string
	Principal principal
	Action    []string
	Resource  []string
}

type principal struct{ AWS []string }

// unlisted is the gateway's own folder for parts of uploads. It lists no object below a
// folder of that name, anywhere in a bucket, but would store and read them.
const unlisted = ".sgwtmp"

// policy is the text of the bucket's policy, the same for the same state; nil if there is no
// account. It names each account once, because a bucket's attributes have little room.
func (n namer) policy(instance string, s state) ([]byte, error) {
	bucket := "arn:aws:s3:::" + n.bucketOf(instance)
	var statements []statement
	for _, kind := range []struct {
		role    access.Role
		actions []string
	}{{access.ReadWrite, s.writersActions()}, {access.ReadOnly, reading}} {
		st := statement{Effect: "Allow", Action: kind.actions, Resource: []string{bucket, bucket + "/*"}}
		for _, a := range s.sorted() {
			if a.role == kind.role {
				st.Principal.AWS = append(st.Principal.AWS, n.accessKey(a))
			}
		}
		if st.Principal.AWS != nil {
			statements = append(statements, st)
		}
	}
	if statements == nil {
		return nil, nil
	}
	statements = append(statements, statement{
		Effect: "Deny", Principal: principal{AWS: []string{"*"}}, Action: []string{"s3:*"},
		Resource: []string{bucket + "/" + unlisted + "*", bucket + "/*/" + unlisted + "*"},
	})
	return json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", statements})
}

func (s state) writersActions() []string {
	actions := slices.Concat(reading, deleting)
	if !s.overQuota {
		actions = append(actions, writing...)
	}
	return actions
}
