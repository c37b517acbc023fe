package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/usage"
)

// Reconcile implements services.Reconciler: it enforces limits and repairs policies.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	if len(r.Instances) == 0 {
		return result, nil
	}
	all, err := b.accounts(ctx)
	if err != nil {
		return result, err
	}
	accounts := map[string][]account{}
	for _, a := range all {
		accounts[a.instance] = append(accounts[a.instance], a)
	}
	return usage.Reconcile(&b.scans, "bucket", r.Instances, func(inst instance, end time.Time) (string, error) {
		note, err := b.reconcileBucket(ctx, inst, accounts[inst.Name], end)
		if objectstore.Is(err, objectstore.NoSuchBucket) {
			err = usage.ErrAbsent
		}
		return note, err
	}), nil
}

func (b *backend) reconcileBucket(ctx context.Context, inst instance, accounts []account, end time.Time) (note string, err error) {
	bucket := b.names.bucketOf(inst.Name)
	overQuota, err := b.gateway.overQuota(ctx, bucket)
	if err != nil {
		return "", err
	}
	used, hard, err := b.folder.Used(bucket)
	if err != nil {
		return "", err
	}
	limits, atLimit := inst.Plan, ""
	if hard { // the file system enforces the limit of storage
		limits.Storage, atLimit = 0, usage.NearLimit(used, inst.Plan.Storage, "objects")
	}
	lock, note, err := b.measure(ctx, inst.Name, limits, overQuota, end)
	if err != nil {
		return "", err
	}
	if lock != overQuota {
		if err := b.gateway.mark(ctx, bucket, lock); err != nil {
			return "", err
		}
	}
	return usage.Join(atLimit, note), b.repair(ctx, inst.Name, state{accounts: accounts, overQuota: lock})
}

// measure says whether the bucket is to be locked, and what its user should know then.
func (b *backend) measure(ctx context.Context, name string, p Plan, locked bool, end time.Time) (lock bool, why string, err error) {
	used, lock, err := b.scans.Measure(ctx, name, p.Limits(), locked, end, func() usage.Counter {
		return &counter{b: b, bucket: b.names.bucketOf(name), sized: p.Storage == 0}
	})
	if lock && err == nil {
		why = note(used, p)
	}
	return lock, why, err
}

// repair writes the policy if it does not follow from the state, which it reads again first.
func (b *backend) repair(ctx context.Context, name string, s state) error {
	written, err := b.gateway.Policy(ctx, b.names.bucketOf(name))
	if err != nil {
		return err
	}
	inSync := func(s state) (bool, error) {
		text, err := b.names.policy(name, s)
		return bytes.Equal(text, written), err
	}
	if ok, err := inSync(s); ok || err != nil {
		return err
	}
	if s, err = b.state(ctx, name, ""); err != nil {
		return err
	}
	if ok, err := inSync(s); ok || err != nil {
		return err
	}
	return b.converge(ctx, name, s, "")
}

// note tells the user of a locked bucket why it is locked.
func note(used usage.Amount, p Plan) string {
	var parts []string
	if used.Uncountable {
		parts = append(parts, "the bucket cannot be counted completely, because of too many unfinished uploads of one key or keys with control characters; writes are refused until you abort or delete these")
	}
	if !usage.MayResume(used.Bytes, p.Storage) {
		parts = append(parts, usage.WritesRefused(used.Bytes, p.Storage))
	}
	if !usage.MayResume(used.Items, p.Objects) {
		parts = append(parts, fmt.Sprintf("objects: %d of %d; writes are refused until there are fewer than %d", used.Items, p.Objects, usage.ResumeBelow(p.Objects)))
	}
	if parts == nil { // another process counted, and this one's count has not ended
		parts = []string{"writes are refused until the bucket's contents have been counted again"}
	}
	return strings.Join(parts, "; ") + ": delete objects, or choose a larger plan"
}

// counter counts one bucket's contents, page by page.
type counter struct {
	b      *backend
	bucket string

	used      usage.Amount
	disk      filesystem.Count
	sized     bool   // the bytes need no counting any more
	objects   bool   // are being counted; uploads come first
	after     string // the last key whose uploads are counted
	nextToken string
}

// Amount implements usage.Counter.
func (c *counter) Amount() usage.Amount { return c.used }

// Advance implements usage.Counter. Without the folder it counts the bytes that are listed.
func (c *counter) Advance(ctx context.Context, end time.Time) (done bool, err error) {
	dir := c.b.local(c.bucket)
	for !done && err == nil {
		switch {
		case dir != "" && !c.sized:
			c.sized, err = c.disk.Advance(dir, end)
			c.used.Bytes = c.disk.Bytes // with what the gateway does not list
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
				dir, c.used.Bytes, err = "", 0, nil
			}
		case c.objects:
			done, err = c.countObjects(ctx)
		default:
			err = c.countUploads(ctx, end)
		}
		if time.Now().After(end) {
			break
		}
	}
	return done, err
}

// countObjects counts a page of objects. done says that it was the last one.
func (c *counter) countObjects(ctx context.Context) (done bool, err error) {
	page, next, err := c.b.gateway.Objects(ctx, c.bucket, c.nextToken)
	if err != nil {
		return false, err
	}
	for _, o := range page {
		if !c.sized {
			c.used.Bytes += services.Size(o.Size)
		}
		c.used.Items++
	}
	c.nextToken = next
	if !misspelled(next) {
		return next == "", nil
	}
	// The place where the next page begins is a key.
	found, err := c.b.gateway.First(ctx, c.bucket, next)
	if err == nil && (len(found) == 0 || found[0].Key != next) {
		c.used.Uncountable, done = true, true
	}
	return done, err
}

// countUploads counts a page of unfinished uploads, key by key.
func (c *counter) countUploads(ctx context.Context, end time.Time) error {
	page, more, err := c.b.gateway.Uploads(ctx, c.bucket, c.after)
	if err != nil {
		return err
	}
	for first := true; len(page) > 0; first = false {
		key := page[0].Key
		same := slices.IndexFunc(page, func(u objectstore.Upload) bool { return u.Key != key })
		if same < 0 {
			same = len(page)
		}
		if same == len(page) && more { // and perhaps not all of this key's
			if first {
				c.used.Uncountable, c.after = true, key
			}
			return nil
		}
		c.used.Items += same
		for _, u := range page[:same] {
			if err := c.countUpload(ctx, u); err != nil {
				return err
			}
		}
		page, c.after = page[same:], key
		if time.Now().After(end) {
			return nil
		}
	}
	c.objects = !more
	return nil
}

func (c *counter) countUpload(ctx context.Context, u objectstore.Upload) error {
	c.used.Uncountable = c.used.Uncountable || misspelled(u.Key)
	if c.sized {
		return nil
	}
	bytes, err := c.b.gateway.Uploaded(ctx, c.bucket, u)
	c.used.Bytes += services.Size(bytes)
	return err
}
