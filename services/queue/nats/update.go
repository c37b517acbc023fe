package nats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Update implements services.Backend: the plan is all that can change. While it is
// under way a tag of the account says what it began from, so that its undo is
// told from a user's move to a smaller plan: that one is refused where more is in
// use, the undo never is.
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

// move gives the account the limits of next, which it may have already: then this
// is a repeated update.
func (a *account) move(ctx context.Context, prev, next Plan) error {
	from, err := origin(prev)
	if err != nil {
		return err
	}
	to, err := origin(next)
	if err != nil || !a.limit(next) {
		return err
	}
	if undoing := a.claims.Tags.Contains(to); !undoing {
		if err := a.fits(ctx, next); err != nil {
			return err
		}
		a.claims.Tags.Add(from)
	} else {
		a.finishUpdate()
	}
	return a.push(ctx)
}

// originTag begins the tag of an account whose update is under way.
const originTag = "chandler:from:"

// origin is the tag for an update that began at a plan's limits.
func origin(p Plan) (string, error) {
	limits, err := json.Marshal(p.limits())
	if err != nil {
		return "", fmt.Errorf("encode the plan's limits: %w", err)
	}
	sum := sha256.Sum256(limits)
	return originTag + hex.EncodeToString(sum[:8]), nil
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
