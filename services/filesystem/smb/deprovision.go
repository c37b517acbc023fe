package smb

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chandler-broker/chandler/services"
)

const (
	// emptyFor is how long one call deletes files, emptyPause how long it then pauses.
	emptyFor   = 10 * time.Second
	emptyPause = 100 * time.Millisecond
)

// Deprovision implements services.Backend. It deletes protected contents' folder first, so that
// a refusal leaves everything as it was.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	if err := b.server.answers(ctx); err != nil {
		return services.DeprovisionResult{}, err
	}
	name := b.names.of(r.Instance.Name)
	group, err := b.folder.volumes().Group(name)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if !r.Instance.Plan.DeleteContents {
		err := b.folder.closeEmpty(name)
		if errors.Is(err, syscall.ENOTEMPTY) {
			return services.DeprovisionResult{}, services.Rejected("share %s is not empty, and this plan keeps what is in it: copy what you need, delete all files, and delete the instance again", name)
		}
		if err != nil {
			return services.DeprovisionResult{}, err
		}
	}
	if err := b.endAccess(ctx, r.Instance.Name); err != nil {
		return services.DeprovisionResult{}, err
	}
	if err := b.folder.discard(name); err != nil {
		return services.DeprovisionResult{}, err
	}
	if err := b.folder.volumes().RemoveGroup(group); err != nil {
		return services.DeprovisionResult{}, err
	}
	b.scans.Forget(r.Instance.Name)
	if err := b.dropBindings(ctx, r.Instance.Name); err != nil {
		return services.DeprovisionResult{}, err
	}
	done, err := b.folder.empty(name, time.Now().Add(emptyFor))
	if err == nil && !done {
		return services.DeprovisionResult{}, services.NotYet(emptyPause, "deleting the share's files")
	}
	return services.DeprovisionResult{}, err
}

// endAccess removes the share and its users and ends all sessions on it. The instance's account
// goes first: without it, converge makes nothing for the instance.
func (b *backend) endAccess(ctx context.Context, instance string) error {
	var bindings []account
	err := b.accounts.change(ctx, func(t *table) error {
		t.drop(instance)
		bindings = t.bindings(instance)
		return b.samba.dropShare(ctx, b.names.of(instance))
	})
	if err != nil {
		return err
	}
	for _, a := range bindings {
		if a.role == closed { // by an earlier call, which ran out of time
			continue
		}
		if err := b.samba.dropUser(ctx, b.names.of(a.name)); err != nil {
			return err
		}
		a.role = closed
		if err := b.accounts.change(ctx, func(t *table) error { t.put(a); return nil }); err != nil {
			return err
		}
	}
	return b.endSessions(ctx, b.names.of(instance), len(bindings) > 0)
}

// endSessions ends the use of a removed share. Sessions of bindings ended with them: if there
// were none, it only makes sure.
func (b *backend) endSessions(ctx context.Context, share string, bound bool) error {
	var used bool
	list := func() error {
		uses, err := b.samba.uses(ctx)
		used = slices.ContainsFunc(uses, func(u use) bool { return u.share == share })
		return err
	}
	var programs errgroup.Group
	programs.Go(func() error { return b.samba.reload(ctx) })
	if !bound {
		programs.Go(list)
	}
	if err := programs.Wait(); err != nil || !bound && !used {
		return err
	}
	if err := b.samba.closeShare(ctx, share); err != nil {
		return err
	}
	if err := list(); err != nil || !used {
		return err
	}
	return services.NotYet(sessionsPause, "waiting for the share's sessions to end")
}

func (b *backend) dropBindings(ctx context.Context, instance string) error {
	return b.accounts.change(ctx, func(t *table) error {
		for _, a := range t.bindings(instance) {
			t.drop(a.name)
		}
		return nil
	})
}
