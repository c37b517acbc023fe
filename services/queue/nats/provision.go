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
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
)

// Provision implements services.Backend. A new account is unusable until it is empty and has room.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	a, err := b.account(ctx, r.Instance.Name)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	if a.usable() {
		if !a.limit(r.Instance.Plan) && a.agreed && a.copyable() {
			return services.ProvisionResult{}, nil
		}
		return services.ProvisionResult{}, a.push(ctx)
	}
	if a.claims != nil && !a.claims.Tags.Contains(unfinished) {
		return services.ProvisionResult{}, errors.New("the account is being removed; deprovision the instance to the end first")
	}
	if a.claims == nil {
		a.create()
	}
	a.limit(r.Instance.Plan)
	if err := a.push(ctx); err != nil {
		return services.ProvisionResult{}, err
	}
	if err := a.prepare(ctx, r.Instance.Plan); err != nil {
		return services.ProvisionResult{}, err
	}
	a.claims.Tags.Remove(unfinished)
	return services.ProvisionResult{}, a.push(ctx)
}

// prepare deletes what an earlier account of the name left, and checks that there is room.
func (a *account) prepare(ctx context.Context, p Plan) error {
	if err := a.b.link.purge(ctx, a.public); err != nil {
		return err
	}
	u, err := a.activate(ctx, p)
	if err == nil && u.streams > 0 {
		return services.NotYet(pause, "streams of an earlier instance are being deleted")
	}
	return err
}

// pause is about how long a cluster takes to delete a stream.
const pause = 200 * time.Millisecond

// Deprovision implements services.Backend: it disconnects clients, deletes streams and the account.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	a, err := b.account(ctx, r.Instance.Name)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if a.claims == nil && !a.damaged { // a full disk may have left an empty file
		return services.DeprovisionResult{}, a.delete(ctx)
	}
	if a.claims == nil { // only the streams are left
		a.create()
	}
	if err := a.close(ctx); err != nil {
		return services.DeprovisionResult{}, err
	}
	if err := b.link.purge(ctx, a.public); err != nil {
		return services.DeprovisionResult{}, err
	}
	u, err := b.link.usageOf(ctx, a.servers, a.public)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if u.streams > 0 {
		return services.DeprovisionResult{}, services.NotYet(pause, "the streams are being deleted")
	}
	// A server that is away would return its copies to the others.
	if away := u.away(a.servers); len(away) > 0 {
		return services.DeprovisionResult{}, services.NotYet(5*time.Second, fmt.Sprintf("the last step waits for server %s, which is away", strings.Join(away, ", ")))
	}
	return services.DeprovisionResult{}, a.delete(ctx)
}

// close marks the account as ending and disconnects all clients.
func (a *account) close(ctx context.Context) error {
	if a.agreed && a.claims.Tags.Contains(ending) {
		return nil
	}
	a.claims.Tags.Add(ending)
	a.claims.SigningKeys.Remove(slices.Clone(a.claims.SigningKeys.Keys())...)
	return a.push(ctx)
}

// delete removes the account from all servers.
func (a *account) delete(ctx context.Context) error {
	request, err := a.b.keys.deletion(a.public)
	if err != nil {
		return err
	}
	return a.b.link.each(ctx, "delete the account", a.servers, deleteSubject, request, envelope.refusal)
}

// deletion is the operator's order to delete accounts.
func (k *keyring) deletion(accounts ...string) ([]byte, error) {
	claims := jwt.NewGenericClaims(k.issuer)
	claims.Data["accounts"] = append([]string{}, accounts...)
	order, err := claims.Encode(k.operator)
	return []byte(order), doing("sign the deletion", err)
}

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
