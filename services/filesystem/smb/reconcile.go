package smb

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

// Reconcile implements services.Reconciler: it enforces the plans' limits, and repairs
// shares that do not follow from their instance's bindings.
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
		note, err := b.reconcileShare(ctx, inst, t, shares[b.names.of(inst.Name)], end)
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
	name, s := b.names.of(inst.Name), shareOf(current)
	used, hard, err := b.folder.volumes().Used(name)
	if err != nil {
		return "", err
	}
	limits, notes := inst.Plan, []string{}
	if hard { // the file system enforces the limit of storage
		limits.Storage, notes = 0, append(notes, usage.NearLimit(used, inst.Plan.Storage, "files"))
	}
	measured, full, err := b.scans.Measure(ctx, inst.Name, limits.limits(), s.full, end, func() usage.Counter {
		return &counter{dir: b.folder.path(name)}
	})
	if err != nil {
		return "", err
	}
	if full {
		notes = append(notes, note(measured, limits))
	}
	wanted := share{full: full, connections: inst.Plan.Connections}
	if maps.Equal(current, wanted.section(b.folder.path(name), b.names, a, t.bindings(inst.Name))) {
		return usage.Join(notes...), nil
	}
	if err := b.converge(ctx, inst.Name, func(s *share) { *s = wanted }); err != nil {
		return "", err
	}
	if err := b.samba.reload(ctx); err != nil {
		return "", err
	}
	if full != s.full { // sessions keep the rights with which they began
		err = b.samba.closeShare(ctx, name)
	}
	return usage.Join(notes...), err
}
