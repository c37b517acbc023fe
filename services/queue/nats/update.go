package nats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Update implements services.Backend. Meanwhile a tag records the previous limits. It tells an
// undo, which is never refused, from a move to a plan that is too small.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	a, err := b.account(ctx, r.Instance.Name)
	if err != nil {
		return services.UpdateResult{}, err
	}
	if !a.usable() {
		return services.UpdateResult{}, errors.New("the instance's account does not exist or is incomplete; if somebody removed it, deprovision the instance")
	}
	if err := a.move(ctx, r.Previous.Plan, r.Instance.Plan); err != nil {
		return services.UpdateResult{}, err
	}
	if _, err := a.activate(ctx, r.Instance.Plan); err != nil {
		return services.UpdateResult{}, err
	}
	if !a.finishUpdate() {
		return services.UpdateResult{}, nil
	}
	return services.UpdateResult{}, a.push(ctx)
}

// move gives the account the limits of next, unless it has them already.
func (a *account) move(ctx context.Context, prev, next Plan) error {
	if !a.limit(next) {
		return nil
	}
	if undoing := a.claims.Tags.Contains(origin(next)); undoing {
		a.finishUpdate()
	} else if err := a.fits(ctx, next); err != nil {
		return err
	} else {
		a.claims.Tags.Add(origin(prev))
	}
	return a.push(ctx)
}

// originTag begins the tag of an account whose update is under way.
const originTag = "chandler:from:"

// origin is the tag for an update that began at a plan's limits.
func origin(p Plan) string {
	limits, _ := json.Marshal(p.limits()) // numbers always encode
	sum := sha256.Sum256(limits)
	return originTag + hex.EncodeToString(sum[:8])
}

// finishUpdate removes the tag of an update and says whether there was one.
func (a *account) finishUpdate() bool {
	before := len(a.claims.Tags)
	a.claims.Tags = slices.DeleteFunc(a.claims.Tags, func(tag string) bool { return strings.HasPrefix(tag, originTag) })
	return len(a.claims.Tags) < before
}

// fits refuses less than is used.
func (a *account) fits(ctx context.Context, next Plan) error {
	u, err := a.b.link.usageOf(ctx, a.servers, a.public)
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
