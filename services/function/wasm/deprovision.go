package wasm

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/function/wasm/state"
)

// Deprovision implements services.Backend. First nobody gets in any more and the
// runtimes remove what the namespace's feeds have elsewhere, then all goes. The
// runtimes are told both times.
func (b *backend) Deprovision(ctx context.Context, inst instance) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var seconds float64
	err := b.store.Alone(ctx, inst.Name, func(tx pgx.Tx) (err error) {
		seconds, err = b.store.EndNamespace(ctx, tx, state.EndNamespaceParams{Name: inst.Name, Channel: state.NamespaceEnded})
		return err
	})
	if state.NotFound(err) {
		return nil
	}
	if err != nil {
		return failed("end the namespace", err)
	}
	if err := b.feedsGone(ctx, inst.Name, time.Duration(seconds*float64(time.Second))); err != nil {
		return err
	}
	if err := b.activationsGone(ctx, inst.Name); err != nil {
		return err
	}
	err = b.store.Alone(ctx, inst.Name, func(tx pgx.Tx) error {
		return b.store.DeleteNamespace(ctx, tx, state.DeleteNamespaceParams{Name: inst.Name, Channel: state.NamespaceEnded})
	})
	if err != nil {
		return failed("delete the namespace", err)
	}
	return nil
}

const (
	// pause is about what a runtime takes to remove a feed.
	pause = 200 * time.Millisecond
	// feedPatience is how long runtimes get to remove the feeds. Where none runs
	// now, the feeds' rows outlive the namespace and the next one does it.
	feedPatience = 15 * time.Second
	// removedAtOnce are so many rows that a call stays well within its time.
	removedAtOnce = 20_000
)

func (b *backend) feedsGone(ctx context.Context, name string, ending time.Duration) error {
	n, err := b.store.CountFeeds(ctx, b.store.Pool, name)
	if err != nil {
		return failed("count the feeds", err)
	}
	if n > 0 && ending < feedPatience {
		return services.NotYet(pause, "the feeds are being removed")
	}
	return nil
}

func (b *backend) activationsGone(ctx context.Context, name string) error {
	n, err := b.store.DeleteActivations(ctx, b.store.Pool, state.DeleteActivationsParams{Namespace: name, Batch: removedAtOnce})
	if err != nil {
		return failed("delete the activations", err)
	}
	if n == removedAtOnce {
		return services.NotYet(time.Millisecond, "the activations are being deleted")
	}
	return nil
}
