package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	// feedPause is about what a runtime takes to remove a feed.
	feedPause = 200 * time.Millisecond
	// feedPatience is how long runtimes get to remove the feeds. If none is running,
	// the feeds' rows outlive the namespace, and the next runtime removes them.
	feedPatience = 15 * time.Second
	// removedAtOnce rows and bytesAtOnce of code and results keep a call short.
	removedAtOnce = 20_000
	bytesAtOnce   = 64 << 20
)

// waiting is the answer to a deletion that has to be repeated.
type waiting struct {
	Waiting      string `json:"waiting"`
	RetryAfterMs int64  `json:"retry_after_ms"`
}

// deleteNamespace first locks out all keys and has the runtimes remove what the
// namespace's feeds have elsewhere, and then deletes everything.
func (a *api) deleteNamespace(r *http.Request) (answer, error) {
	name := r.PathValue("namespace")
	var seconds float64
	done, err := a.change(r, name, func(ctx context.Context, tx pgx.Tx) (err error) {
		seconds, err = a.Store.EndNamespace(ctx, tx, state.EndNamespaceParams{Name: name, Channel: state.NamespaceEnded})
		return err
	})
	if state.NotFound(err) {
		return done, nil
	}
	if err != nil {
		return answer{}, fmt.Errorf("end the namespace: %w", err)
	}
	left, err := a.emptied(r.Context(), name, time.Duration(seconds*float64(time.Second)))
	if err != nil {
		return answer{}, err
	}
	if left != nil {
		return answer{http.StatusAccepted, left}, nil
	}
	done, err = a.change(r, name, func(ctx context.Context, tx pgx.Tx) error {
		return a.Store.DeleteNamespace(ctx, tx, state.DeleteNamespaceParams{Name: name, Channel: state.NamespaceEnded})
	})
	if err != nil {
		err = fmt.Errorf("delete the namespace: %w", err)
	}
	return done, err
}

// emptied waits for the feeds and deletes what is in the namespace, a batch of one kind
// in each call: a namespace may hold more than one transaction can delete in time.
func (a *api) emptied(ctx context.Context, name string, ending time.Duration) (*waiting, error) {
	db, s := a.Store.Pool, a.Store
	feeds, err := s.CountFeeds(ctx, db, name)
	if err != nil {
		return nil, fmt.Errorf("count the feeds: %w", err)
	}
	if feeds > 0 && ending < feedPatience {
		return &waiting{fmt.Sprintf("waiting up to %s for a runtime to remove %d feed(s) from their message servers", feedPatience, feeds), feedPause.Milliseconds()}, nil
	}
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
			return nil, fmt.Errorf("delete the %s: %w", part.what, err)
		}
		if more {
			return &waiting{"the " + part.what + " are being deleted", 1}, nil
		}
	}
	return nil, nil
}
