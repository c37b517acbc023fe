package openwhisk

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
)

// Deprovision implements services.Backend. First nobody gets in any more and the
// runtimes remove what the namespace's feeds have elsewhere, then all goes. The
// runtimes are told both times.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	if err := b.prepare(ctx); err != nil {
		return services.DeprovisionResult{}, err
	}
	var seconds float64
	err := b.store.Alone(ctx, r.Instance.Name, func(tx pgx.Tx) (err error) {
		seconds, err = b.store.EndNamespace(ctx, tx, state.EndNamespaceParams{Name: r.Instance.Name, Channel: state.NamespaceEnded})
		return err
	})
	if state.NotFound(err) {
		return services.DeprovisionResult{}, nil
	}
	if err != nil {
		return services.DeprovisionResult{}, failed("end the namespace", err)
	}
	if err := b.feedsGone(ctx, r.Instance.Name, time.Duration(seconds*float64(time.Second))); err != nil {
		return services.DeprovisionResult{}, err
	}
	if err := b.emptied(ctx, r.Instance.Name); err != nil {
		return services.DeprovisionResult{}, err
	}
	err = b.store.Alone(ctx, r.Instance.Name, func(tx pgx.Tx) error {
		return b.store.DeleteNamespace(ctx, tx, state.DeleteNamespaceParams{Name: r.Instance.Name, Channel: state.NamespaceEnded})
	})
	if err != nil {
		return services.DeprovisionResult{}, failed("delete the namespace", err)
	}
	return services.DeprovisionResult{}, nil
}

const (
	// pause is about what a runtime takes to remove a feed.
	pause = 200 * time.Millisecond
	// feedPatience is how long runtimes get to remove the feeds. Where none runs
	// now, the feeds' rows outlive the namespace and the next one does it.
	feedPatience = 15 * time.Second
	// removedAtOnce and bytesAtOnce are so many rows, and so much code and results,
	// that a call stays well within its time.
	removedAtOnce = 20_000
	bytesAtOnce   = 64 << 20
)

func (b *backend) feedsGone(ctx context.Context, name string, ending time.Duration) error {
	n, err := b.store.CountFeeds(ctx, b.store.Pool, name)
	if err != nil {
		return failed("count the feeds", err)
	}
	if n > 0 && ending < feedPatience {
		return services.NotYet(pause, fmt.Sprintf("waiting up to %s for a runtime to remove %d feed(s) from their message servers", feedPatience, n))
	}
	return nil
}

// emptied deletes what is in the namespace, a batch of one kind a call: deleting the
// namespace would delete all of it in one transaction, and a namespace may hold more
// than that can do in time.
func (b *backend) emptied(ctx context.Context, name string) error {
	db, s := b.store.Pool, b.store
	batch := state.DeleteActivationsParams{Namespace: name, Batch: removedAtOnce, Bytes: bytesAtOnce}
	for _, part := range []struct {
		what   string
		remove func() (more bool, err error)
	}{
		{"activations", func() (bool, error) { return s.DeleteActivations(ctx, db, batch) }},
		{"rules", func() (bool, error) { return s.EmptyRules(ctx, db, state.EmptyRulesParams(batch)) }},
		{"triggers", func() (bool, error) { return s.EmptyTriggers(ctx, db, state.EmptyTriggersParams(batch)) }},
		{"actions", func() (bool, error) { return s.EmptyActions(ctx, db, state.EmptyActionsParams(batch)) }},
		{"packages", func() (bool, error) { return s.EmptyPackages(ctx, db, state.EmptyPackagesParams(batch)) }},
	} {
		more, err := part.remove()
		if err != nil {
			return failed("delete the "+part.what, err)
		}
		if more {
			return services.NotYet(time.Millisecond, "the "+part.what+" are being deleted")
		}
	}
	return nil
}
