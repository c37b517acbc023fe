package smb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
	"github.com/chandler-broker/chandler/services/usage"
)

// Reconcile implements services.Reconciler: it enforces limits and repairs shares.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	if len(r.Instances) == 0 {
		return result, nil
	}
	t, err := b.accounts.read()
	if err != nil {
		return result, err
	}
	shares, err := b.samba.shares(ctx)
	if err != nil {
		return result, err
	}
	return usage.Reconcile(&b.scans, "share", r.Instances, func(inst instance, end time.Time) (string, error) {
		note, err := b.reconcileShare(ctx, inst, t, shares[b.names.resource(inst.Name)], end)
		if errors.Is(err, errAbsent) || errors.Is(err, fs.ErrNotExist) {
			err = usage.ErrAbsent
		}
		return note, err
	}), nil
}

// reconcileShare reconciles one instance, whose share is current.
func (b *backend) reconcileShare(ctx context.Context, inst instance, t *table, current section, end time.Time) (string, error) {
	a, ok := t.find(inst.Name)
	if !ok || current == nil {
		return "", errAbsent
	}
	name := b.names.resource(inst.Name)
	used, hard, err := b.folder.volumes().Used(name)
	if err != nil {
		return "", err
	}
	limits, notes := inst.Plan, []string{}
	if hard { // the file system enforces the limit of storage
		limits.Storage, notes = 0, append(notes, usage.NearLimit(used, inst.Plan.Storage, "files"))
	}
	locked := a.overQuota || current[readOnlyKey] == "yes" // all that earlier versions recorded
	measured, overQuota, err := b.scans.Measure(ctx, inst.Name, limits.limits(), locked, end, func() usage.Counter {
		return &counter{dir: b.folder.path(name)}
	})
	if err != nil {
		return "", err
	}
	if overQuota {
		notes = append(notes, note(measured, limits))
	}
	recorded := a.overQuota == overQuota
	a.overQuota = overQuota
	if recorded && maps.Equal(current, b.section(t, a, inst.Plan)) {
		return usage.Join(notes...), nil
	}
	err = b.converge(ctx, inst, func(_ *table, a *account) error { a.overQuota = overQuota; return nil })
	if err != nil {
		return "", err
	}
	if err := b.samba.reload(ctx); err != nil {
		return "", err
	}
	if overQuota != locked { // sessions keep the rights with which they began
		err = b.samba.control(ctx, "close-share", name)
	}
	return usage.Join(notes...), err
}

// note tells the user of a locked share why it is locked.
func note(used usage.Amount, p Plan) string {
	var parts []string
	if !usage.MayResume(used.Bytes, p.Storage) {
		parts = append(parts, fmt.Sprintf("storage: %s of %s used", used.Bytes, p.Storage))
	}
	if !usage.MayResume(used.Items, p.Files) {
		parts = append(parts, fmt.Sprintf("files: %d of %d", used.Items, p.Files))
	}
	if parts == nil { // another process counted, and this one's count has not ended
		parts = []string{"the share's contents are being counted again"}
	}
	return strings.Join(parts, ", ") + "; the share is read-only: choose a larger plan, then delete files"
}

// counter counts what one share holds on the disk.
type counter struct {
	dir  string
	disk filesystem.Count
}

// Advance implements usage.Counter.
func (c *counter) Advance(_ context.Context, end time.Time) (done bool, err error) {
	return c.disk.Advance(c.dir, end)
}

// Amount implements usage.Counter.
func (c *counter) Amount() usage.Amount {
	return usage.Amount{Bytes: c.disk.Bytes, Items: c.disk.Files}
}
