package nats

import (
	"context"
	"errors"
	"reflect"

	"github.com/chandler-broker/chandler/services"
)

// Update implements services.Backend: the plan is all that can change.
func (b *backend) Update(ctx context.Context, _, next instance) error {
	a, err := b.account(ctx, next.Name)
	if err != nil {
		return err
	}
	if !a.usable() {
		return errors.New("the instance's account is not there or not finished; was it removed by hand? deprovision the instance")
	}
	if err := a.fits(ctx, next.Plan); err != nil {
		return err
	}
	a.limit(next.Plan)
	if err := a.push(ctx); err != nil {
		return err
	}
	_, err = a.settled(ctx, next.Plan)
	return err
}

// fits refuses less than is used. Where the account has these limits already,
// this is the undoing of an update that failed, or a repeated one.
func (a *account) fits(ctx context.Context, next Plan) error {
	if reflect.DeepEqual(a.claims.Limits, next.limits()) {
		return nil
	}
	u, err := a.b.link.usageOf(ctx, a.there, a.public)
	if err != nil {
		return err
	}
	switch {
	case u.storage > next.Storage:
		return services.Rejected("the plan allows %s of streams on disk and the instance uses %s; delete messages first, or choose a larger plan", next.Storage, u.storage)
	case u.memory > next.Memory:
		return services.Rejected("the plan allows %s of streams in memory and the instance uses %s; delete messages first, or choose a larger plan", next.Memory, u.memory)
	case u.streams > next.Streams:
		return services.Rejected("the plan allows %d streams and the instance has %d; delete some first, or choose a larger plan", next.Streams, u.streams)
	}
	return nil
}
