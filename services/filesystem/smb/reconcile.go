package smb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"time"

	"github.com/chandler-broker/chandler/services"
)

const (
	// keepFor is how long one round looks after its instances, keepOneFor how
	// long after a single one.
	keepFor    = 10 * time.Second
	keepOneFor = time.Second
)

// Reconcile implements services.Reconciler: it holds shares to their plan's limits, and
// puts a share right that is not what follows from the instance's bindings.
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
	b.round.Lock()
	defer b.round.Unlock()
	end, late := time.Now().Add(keepFor), len(r.Instances)
	for i := range r.Instances {
		// Those that the last round had no time for come first.
		inst := r.Instances[(b.turn+i)%len(r.Instances)]
		if late > i && time.Now().After(end) {
			late = i
		}
		note, err := b.keep(ctx, inst, t, shares[b.names.of(inst.Name)], end)
		condition := services.Condition{Reason: services.OverQuota, Message: note}
		switch {
		case errors.Is(err, errAbsent) || errors.Is(err, fs.ErrNotExist): // being made or removed
			b.forget(inst.Name)
			condition, err = services.Condition{}, nil
		case err != nil:
			condition, err = services.LimitsNotEnforced(), fmt.Errorf("share of instance %s: %w", inst.ID, err)
		}
		result.Record(inst.ID, condition, err)
	}
	b.turn = (b.turn + late) % len(r.Instances)
	return result, nil
}

// keep looks after one instance, whose share is current.
func (b *backend) keep(ctx context.Context, inst instance, t *table, current section, end time.Time) (note string, err error) {
	a, ok := t.find(inst.Name)
	if !ok || current == nil {
		return "", errAbsent
	}
	name, s := b.names.of(inst.Name), shareOf(current)
	used, hard, err := b.folder.volumes().Used(name)
	if err != nil {
		return "", err
	}
	limits, atLimit := inst.Plan, ""
	if hard { // storage is the file system's to hold
		limits.Storage, atLimit = 0, hardNote(used, inst.Plan.Storage)
	}
	full, note, err := b.measure(inst.Name, limits, s.full, end)
	if err != nil {
		return "", err
	}
	wanted := share{full: full, connections: inst.Plan.Connections}
	if maps.Equal(current, wanted.section(b.folder.path(name), b.names, a, t.bindings(inst.Name))) {
		return join(atLimit, note), nil
	}
	if err := b.converge(ctx, inst.Name, func(s *share) { *s = wanted }); err != nil {
		return "", err
	}
	if err := b.samba.reload(ctx); err != nil {
		return "", err
	}
	if full != s.full { // sessions know only how it was when they began
		err = b.samba.closeShare(ctx, name)
	}
	return join(atLimit, note), err
}

// measure says whether the share has more than limits allow, and what its user
// should know of that.
func (b *backend) measure(name string, limits Plan, full bool, end time.Time) (bool, string, error) {
	if limits.Storage == 0 && limits.Files == 0 {
		return false, "", nil
	}
	s := b.scanOf(name)
	used, now := s.last, time.Now()
	if now.After(s.next) && now.Before(end) {
		if one := now.Add(keepOneFor); one.Before(end) {
			end = one
		}
		whole, err := s.advance(b.folder.path(b.names.of(name)), end)
		if err != nil {
			return full, "", err
		}
		if used = s.last; !whole && s.used.exceeds(limits) { // there is more to come
			used = s.used
		}
		if whole || used.exceeds(limits) {
			full = used.exceeds(limits) || (full && !used.resumes(limits))
		}
	}
	if !full {
		return false, "", nil
	}
	return true, used.note(limits), nil
}

// hardNote is what the user of a share should know that the file system holds
// to its limit.
func hardNote(used, limit services.Size) string {
	if limit == 0 || used < resume(limit) {
		return ""
	}
	return fmt.Sprintf("storage: %s of %s used; what needs more is refused: delete files, or choose a larger plan", used, limit)
}

func join(one, other string) string {
	if one != "" && other != "" {
		return one + "; " + other
	}
	return one + other
}

// scanOf is the instance's scan, for the round of Reconcile that asks.
func (b *backend) scanOf(name string) *scan {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.scans[name] == nil {
		b.scans[name] = &scan{}
	}
	return b.scans[name]
}

// forget makes the next round of Reconcile count anew.
func (b *backend) forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.scans, name) // a count under way ends with its round
}
