package smb

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chandler-broker/chandler/services"
)

// Unbind implements services.Backend.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	if err := b.server.answers(ctx); err != nil {
		return services.UnbindResult{}, err
	}
	t, err := b.accounts.read()
	if err != nil {
		return services.UnbindResult{}, err
	}
	a, ok := t.find(r.Binding.Name)
	if !ok {
		return services.UnbindResult{}, nil
	}
	return services.UnbindResult{}, b.revoke(ctx, r.Instance, a)
}

// sessionsPause is how long ending sessions have before the next look.
const sessionsPause = 100 * time.Millisecond

// revoke ends a binding: it disables logins, ends sessions and removes the account. The account's
// role records the progress, because on a slow machine the programs take longer than one call.
func (b *backend) revoke(ctx context.Context, inst instance, a account) error {
	if a.role != closed {
		if err := b.disable(ctx, inst, a); err != nil {
			return err
		}
	}
	ended := b.endSessionsOf(ctx, a)
	err := b.accounts.change(ctx, func(t *table) error {
		if ended == nil {
			t.drop(a.name)
		} else if _, ok := t.find(a.name); ok {
			a.role = closed
			t.put(a)
		}
		return nil
	})
	if ended != nil {
		return ended
	}
	return err
}

// disable disables a binding's logins and removes it from its share.
func (b *backend) disable(ctx context.Context, inst instance, a account) error {
	inst.Name, a.role = a.instance, revoking
	if inst.Plan == (Plan{}) { // an orphan's plan is unknown: the limit stays as it is
		shares, err := b.samba.shares(ctx)
		if err != nil {
			return err
		}
		inst.Plan.Connections, _ = strconv.Atoi(shares[b.names.resource(inst.Name)]["max connections"]) // 0 for an absent share
	}
	var programs errgroup.Group
	programs.Go(func() error { return b.samba.dropUser(ctx, b.names.resource(a.name)) })
	programs.Go(func() error {
		err := b.converge(ctx, inst, func(t *table, _ *account) error { t.put(a); return nil })
		if errors.Is(err, errAbsent) {
			return nil
		}
		return err
	})
	return programs.Wait()
}

// endSessionsOf ends the sessions of a binding that is disabled.
func (b *backend) endSessionsOf(ctx context.Context, a account) error {
	share := b.names.resource(a.instance)
	if err := b.samba.control(ctx, "close-denied-share", share); err != nil {
		return err
	}
	uses, err := b.samba.uses(ctx)
	if err == nil && slices.ContainsFunc(uses, func(u use) bool { return u.share == share && u.uid == a.uid }) {
		return services.NotYet(sessionsPause, "waiting for the binding's sessions to end")
	}
	return err
}
