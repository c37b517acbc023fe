package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	// firesAtOnce is how many alarms a runtime fires at a time, namespaceFires
	// how many of one namespace before it leaves the others of it alone.
	firesAtOnce    = 512
	namespaceFires = 64
	// takeAtOnce is how many it takes in one transaction.
	takeAtOnce = 64
)

// alarms fires what is due by the clock.
type alarms struct {
	*Feeds
	wake chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	fires  map[fireKey]bool // under way
	counts map[string]int   // of each namespace
}

// fireKey is what makes a fire.
type fireKey struct {
	feed uuid.UUID
	due  int64 // microseconds since 1970, which is as precise as the database is
}

func newAlarms(f *Feeds) *alarms {
	return &alarms{Feeds: f, wake: make(chan struct{}, 1), fires: map[fireKey]bool{}, counts: map[string]int{}}
}

// run takes what is due, sleeps until the next is, and looks when it is told of a
// change. Where nothing is due it asks the database once in Pace.Look.
func (a *alarms) run(ctx context.Context) {
	late, cancel := a.graceful(ctx)
	var holding sync.WaitGroup
	holding.Go(func() { a.hold(late) })
	for ctx.Err() == nil {
		wait, err := a.round(ctx, late)
		if err != nil && ctx.Err() == nil {
			a.Logger.WarnContext(ctx, "alarms cannot be read", "error", err)
			wait = pauses{clock: a.Pace.Look, real: a.Pace.Retry}
		}
		a.sleep(ctx, wait)
	}
	a.wg.Wait()
	cancel()
	holding.Wait()
}

// pauses are until when to sleep by the alarms' clock and by the machine's, which
// leases go by.
type pauses struct{ clock, real time.Duration }

func (a *alarms) sleep(ctx context.Context, wait pauses) {
	if wait.clock <= 0 || wait.real <= 0 {
		return
	}
	timer := time.NewTimer(wait.real)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-a.wake:
	case <-timer.C:
	case <-a.Clock.After(wait.clock):
	}
}

// round takes one batch of what is due and says when to look again.
func (a *alarms) round(ctx, late context.Context) (pauses, error) {
	now := a.Clock.Now()
	room, without := a.room()
	if room == 0 {
		return pauses{math.MaxInt64, a.Pace.Look}, nil // the end of a fire wakes
	}
	taken, err := a.takeDue(ctx, late, now, room, without)
	if err != nil {
		return pauses{}, err
	}
	lapsed, err := a.takeLapsed(ctx, late, room-taken, without)
	if err != nil || taken+lapsed > 0 {
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
	// What is due and was not taken is in another runtime's hands, or its
	// namespace fires enough already.
	if wait.clock <= 0 || wait.real <= 0 {
		return pauses{math.MaxInt64, a.Pace.Retry}, nil
	}
	return wait, nil
}

// seconds is a duration, an infinite one included.
func seconds(n float64) time.Duration {
	if n > math.MaxInt64/float64(2*time.Second) {
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(n*1e6)) * time.Microsecond
}

// room is how many more may be taken, and the namespaces that have enough.
func (a *alarms) room() (room int32, without []string) {
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

// takeDue records the fires that are due, together with when their feeds are due
// next, and starts them once that is committed.
func (a *alarms) takeDue(ctx, late context.Context, now time.Time, room int32, without []string) (taken int32, err error) {
	var fires []fire
	err = a.Store.InTx(ctx, func(tx pgx.Tx) error {
		fires = nil
		due, err := a.Store.DueFeeds(ctx, tx, state.DueFeedsParams{Now: &now, Without: without, Batch: room})
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
		return 0, fmt.Errorf("take what is due: %w", err)
	}
	for _, one := range fires {
		a.start(ctx, late, one)
	}
	return int32(len(fires)), nil //nolint:gosec // room at most
}

// advance takes one due time. The next one is after now and after the one taken,
// so that times that were missed fire once, and clocks that differ never make two
// of one.
func (a *alarms) advance(ctx context.Context, tx pgx.Tx, row state.Feed, now time.Time) error {
	var s timing
	var next time.Time
	err := json.Unmarshal(row.Settings, &s)
	if err == nil {
		next, err = s.next(row.Kind, later(now, *row.DueAt))
	}
	var why *reason
	switch {
	case err != nil:
		next, why = time.Time{}, &reason{Kind: "AUTO", Message: "Automatically disabled because its settings cannot be read"}
	case next.IsZero():
		why = over(row.Kind)
	}
	if err := a.Store.AdvanceFeed(ctx, tx, state.AdvanceFeedParams{ID: row.ID, DueAt: when(next), Reason: why.raw()}); err != nil {
		return err
	}
	return a.Store.TakeFire(ctx, tx, state.TakeFireParams{
		Feed: row.ID, DueAt: *row.DueAt, Holder: a.runtime, Lease: a.Pace.Lease.Seconds(),
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// takeLapsed takes over the fires of runtimes that were not heard of.
func (a *alarms) takeLapsed(ctx, late context.Context, room int32, without []string) (taken int32, err error) {
	if room <= 0 {
		return 0, nil
	}
	lapsed, err := a.Store.LapsedFires(ctx, a.Store.Pool, state.LapsedFiresParams{
		Holder: a.runtime, Lease: a.Pace.Lease.Seconds(), Without: without, Batch: room,
	})
	if err != nil {
		return 0, fmt.Errorf("take over fires: %w", err)
	}
	for _, row := range lapsed {
		a.start(ctx, late, fire{row.Feed, row.FireDueAt})
	}
	return int32(len(lapsed)), nil //nolint:gosec // room at most
}

// hold keeps this runtime's fires from lapsing until ctx ends.
func (a *alarms) hold(ctx context.Context) {
	tick := time.NewTicker(a.Pace.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		held := a.held()
		if len(held.Feeds) == 0 {
			continue
		}
		if err := a.Store.HoldFires(ctx, a.Store.Pool, held); err != nil && ctx.Err() == nil {
			a.Logger.WarnContext(ctx, "alarms under way cannot be held", "error", err)
		}
	}
}

// held are the fires under way, and no others: one that this runtime took and,
// because the database's answer was lost, knows nothing of, has to lapse.
func (a *alarms) held() state.HoldFiresParams {
	a.mu.Lock()
	defer a.mu.Unlock()
	held := state.HoldFiresParams{Holder: a.runtime, Lease: a.Pace.Lease.Seconds()}
	for key := range a.fires {
		held.Feeds = append(held.Feeds, key.feed)
		held.DueAt = append(held.DueAt, time.UnixMicro(key.due))
	}
	return held
}
