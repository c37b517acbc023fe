package s3

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// reading are the actions of every binding.
func reading() []string { return append(objectstore.Reading(), "s3:GetObjectAttributes") }

// state is all that a bucket's policy follows from.
type state struct {
	// accounts are those of the instance's bindings.
	accounts []account
	// overQuota says that the plan's limits are exceeded: nobody may write.
	overQuota bool
}

// unlisted is the gateway's own folder for parts of uploads. The gateway lists nothing below such
// a name, but would store and read it.
const unlisted = ".sgwtmp"

// policy is the bucket's policy, the same for the same state; nil without accounts. It names each
// account once, because a bucket's attributes have little room.
func (n namer) policy(instance string, s state) ([]byte, error) {
	bucket := "arn:aws:s3:::" + n.bucketOf(instance)
	var statements []objectstore.Statement
	for _, role := range []access.Role{access.ReadWrite, access.ReadOnly} {
		var keys []string
		for _, a := range s.accounts {
			if a.role == role {
				keys = append(keys, n.accessKey(a))
			}
		}
		if slices.Sort(keys); keys != nil {
			statements = append(statements, objectstore.Statement{
				Effect: "Allow", Principal: &objectstore.Principal{AWS: keys}, Action: s.actions(role), Resource: []string{bucket, bucket + "/*"},
			})
		}
	}
	if statements == nil {
		return nil, nil
	}
	hidden := []string{bucket + "/" + unlisted + "*", bucket + "/*/" + unlisted + "*"}
	statements = append(statements, objectstore.Statement{
		Effect: "Deny", Principal: &objectstore.Principal{AWS: []string{"*"}}, Action: []string{"s3:*"}, Resource: hidden,
	})
	return objectstore.PolicyText(statements)
}

func (s state) actions(role access.Role) []string {
	switch {
	case role == access.ReadOnly:
		return reading()
	case s.overQuota:
		return slices.Concat(reading(), objectstore.Deleting())
	}
	return slices.Concat(reading(), objectstore.Deleting(), objectstore.Writing())
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
// without as state does. It is objectstore.NoSuchBucket if there is no bucket.
func (b *backend) converge(ctx context.Context, instance string, s state, without string) error {
	text, err := b.names.policy(instance, s)
	if err != nil {
		return err
	}
	for range maxWrites {
		written := b.gateway.putPolicy(ctx, b.names.bucketOf(instance), text)
		if written != nil && !objectstore.Is(written, malformedPolicy) { // which it is if an account was deleted
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
