package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/chandler-broker/chandler/services/access"
)

// The actions of bindings (Amazon S3 User Guide, "Actions, resources, and condition keys").
// Others, such as on policies and tags, are the administrator's.
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

type statement struct {
	Effect    string
	Principal principal
	Action    []string
	Resource  []string
}

type principal struct{ AWS []string }

// unlisted is the gateway's own folder for parts of uploads. The gateway lists nothing below such
// a name, but would store and read it.
const unlisted = ".sgwtmp"

// policy is the bucket's policy, the same for the same state; nil without accounts. It names each
// account once, because a bucket's attributes have little room.
func (n namer) policy(instance string, s state) ([]byte, error) {
	bucket := "arn:aws:s3:::" + n.bucketOf(instance)
	var statements []statement
	for _, role := range []access.Role{access.ReadWrite, access.ReadOnly} {
		var keys []string
		for _, a := range s.accounts {
			if a.role == role {
				keys = append(keys, n.accessKey(a))
			}
		}
		if slices.Sort(keys); keys != nil {
			statements = append(statements, statement{"Allow", principal{keys}, s.actions(role), []string{bucket, bucket + "/*"}})
		}
	}
	if statements == nil {
		return nil, nil
	}
	hidden := []string{bucket + "/" + unlisted + "*", bucket + "/*/" + unlisted + "*"}
	statements = append(statements, statement{"Deny", principal{[]string{"*"}}, []string{"s3:*"}, hidden})
	return json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", statements})
}

func (s state) actions(role access.Role) []string {
	switch {
	case role == access.ReadOnly:
		return reading
	case s.overQuota:
		return slices.Concat(reading, deleting)
	}
	return slices.Concat(reading, deleting, writing)
}

// The gateway replaces a policy as a whole, without compare-and-swap. So a policy is made only
// from the state, which changes one piece at a time. Each writer reads the state again after
// writing, and repeats if it has changed: the last writer has seen all changes.

// state reads an instance's state. It first removes the accounts of the binding without, if any.
func (b *backend) state(ctx context.Context, instance, without string) (state, error) {
	accounts, err := b.accountsOf(ctx, instance)
	if err != nil {
		return state{}, err
	}
	var s state
	for _, a := range accounts {
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

// converge writes the policy that follows from s, which was just read, and removes the accounts of
// without as state does. It is noSuchBucket if there is no bucket.
func (b *backend) converge(ctx context.Context, instance string, s state, without string) error {
	text, err := b.names.policy(instance, s)
	if err != nil {
		return err
	}
	for range maxWrites {
		written := b.gateway.putPolicy(ctx, b.names.bucketOf(instance), text)
		if written != nil && !is(written, malformedPolicy) { // which it is if an account was deleted
			return written
		}
		if s, err = b.state(ctx, instance, without); err != nil {
			return err
		}
		previous := text
		if text, err = b.names.policy(instance, s); err != nil {
			return err
		}
		if bytes.Equal(text, previous) {
			return written
		}
	}
	return errors.New("write the bucket's policy: its bindings change too fast; the broker retries")
}
