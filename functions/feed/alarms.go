package feed

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	firesAtOnce    = 512 // concurrent fires of a runtime
	namespaceFires = 64  // of one namespace
	takeAtOnce     = 64  // taken in one transaction
)

type alarms struct {
	*Feeds
	wake chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	fires  map[fireKey]bool // running
	counts map[string]int   // running, by namespace
}

type fireKey struct {
	feed uuid.UUID
	due  int64 // microseconds since 1970, the precision of the database
}

// run takes due fires whenever one is due, after a notification, or after Pace.Look.
func (a *alarms) run(ctx context.Context) {
	late, cancel := a.graceful(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { a.renew(late) })
	for ctx.Err() == nil {
		wait, err := a.round(ctx, late)
		if err != nil && ctx.Err() == nil {
			a.Logger.WarnContext(ctx, "alarms cannot be read", "error", err)
			wait = pauses{clock: a.Pace.Look, real: a.Pace.Retry}
		}
		if wait.clock <= 0 || wait.real <= 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-a.wake:
		case <-time.After(wait.real):
		case <-a.Clock.After(wait.clock):
		}
	}
	a.wg.Wait()
	cancel()
	renewing.Wait()
}

// pauses are how long to sleep by the alarms' clock and by the machine's, which leases use.
type pauses struct{ clock, real time.Duration }

// round takes one batch of due fires and says when to look again.
func (a *alarms) round(ctx, late context.Context) (pauses, error) {
	now := a.Clock.Now()
	capacity, without := a.capacity()
	if capacity == 0 {
		return pauses{math.MaxInt64, a.Pace.Look}, nil // the end of a fire wakes
	}
	taken, err := a.takeDue(ctx, now, capacity, without)
	if err == nil && len(taken) < int(capacity) {
		var lapsed []fire
		lapsed, err = a.takeLapsed(ctx, capacity-int32(len(taken)), without) //nolint:gosec // takeAtOnce at most
		taken = append(taken, lapsed...)
	}
	for _, one := range taken {
		a.start(ctx, late, one)
	}
	if err != nil || len(taken) > 0 {
		return pauses{}, err
	}
	next, err := a.Store.NextFire(ctx, a.Store.Pool)
	if err != nil {
		return pauses{}, err
	}
	wait := pauses{
		clock: seconds(next.Due - float64(now.UnixMicro())/1e6),
		real:  min(seconds(next.LeaseEnds), a.Pace.Look),
	}
	// Another runtime has taken what is due, or its namespace fires enough already.
	if wait.clock <= 0 || wait.real <= 0 {
		return pauses{math.MaxInt64, a.Pace.Retry}, nil
	}
	return wait, nil
}

// seconds converts a number, which may be infinite, to a duration.
func seconds(n float64) time.Duration {
	if n > math.MaxInt64/float64(2*time.Second) {
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(n*1e6)) * time.Microsecond
}

// capacity is the number of fires that may be taken, and the namespaces at their limit.
func (a *alarms) capacity() (capacity int32, without []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	without = []string{}
	for namespace, n := range a.counts {
		if n >= namespaceFires {
			without = append(without, namespace)
		}
	}
	return int32(min(firesAtOnce-len(a.fires), takeAtOnce)), without //nolint:gosec // takeAtOnce at most
}

// takeDue takes due fires, and writes when their feeds are due next.
func (a *alarms) takeDue(ctx context.Context, now time.Time, capacity int32, without []string) (fires []fire, err error) {
	err = a.Store.InTx(ctx, func(tx pgx.Tx) error {
		due, err := a.Store.DueFeeds(ctx, tx, state.DueFeedsParams{Now: &now, Without: without, Batch: capacity})
		if err != nil {
			return err
		}
		for _, row := range due {
			if err := a.advance(ctx, tx, row, now); err != nil {
				return err
			}
			fires = append(fires, fire{row, *row.DueAt})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("take due fires: %w", err)
	}
	return fires, nil
}

// advance takes one due time. The next one is after it and after now, so missed times fire once.
func (a *alarms) advance(ctx context.Context, tx pgx.Tx, row state.Feed, now time.Time) error {
	after := now
	if row.DueAt.After(now) {
		after = *row.DueAt
	}
	next := state.AdvanceFeedParams{ID: row.ID}
	s, err := decode[timing](row)
	var due time.Time
	if err == nil {
		due, err = s.next(row.Kind, after)
	}
	switch {
	case err != nil:
		next.Reason = toJSON(reason{Kind: "AUTO", Message: "Automatically disabled because its settings cannot be read"})
	case due.IsZero():
		next.Reason = toJSON(reason{Kind: "AUTO", Message: lastFire(row.Kind)})
	default:
		next.DueAt = &due
	}
	if err := a.Store.AdvanceFeed(ctx, tx, next); err != nil {
		return err
	}
	return a.Store.TakeFire(ctx, tx, state.TakeFireParams{
		Feed: row.ID, DueAt: *row.DueAt, Holder: a.runtime, Lease: a.Pace.Lease.Seconds(),
	})
}

// takeLapsed takes over the fires of runtimes that stopped renewing their leases.
func (a *alarms) takeLapsed(ctx context.Context, capacity int32, without []string) (fires []fire, err error) {
	lapsed, err := a.Store.LapsedFires(ctx, a.Store.Pool, state.LapsedFiresParams{
		Holder: a.runtime, Lease: a.Pace.Lease.Seconds(), Without: without, Batch: capacity,
	})
	if err != nil {
		return nil, fmt.Errorf("take over fires: %w", err)
	}
	for _, row := range lapsed {
		fires = append(fires, fire{row.Feed, row.FireDueAt})
	}
	return fires, nil
}

func (a *alarms) renew(ctx context.Context) {
	for pause(ctx, a.Pace.Lease/3) {
		running := a.running()
		if len(running.Feeds) == 0 {
			continue
		}
		if err := a.Store.HoldFires(ctx, a.Store.Pool, running); err != nil && ctx.Err() == nil {
			a.Logger.WarnContext(ctx, "the leases of alarms cannot be renewed", "error", err)
		}
	}
}

// running are the running fires, and no others: a fire that this runtime took without
// knowing, because the database's answer was lost, must lapse.
func (a *alarms) running() state.HoldFiresParams {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := state.HoldFiresParams{Holder: a.runtime, Lease: a.Pace.Lease.Seconds()}
	for key := range a.fires {
		p.Feeds = append(p.Feeds, key.feed)
		p.DueAt = append(p.DueAt, time.UnixMicro(key.due))
	}
	return p
}
