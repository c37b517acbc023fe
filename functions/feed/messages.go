package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	messagesAtOnce = 256              // messages in progress in a runtime, besides the first of each feed
	startsAtOnce   = 2                // feeds that create their consumers at a time; each occupies a database connection
	pullWait       = 30 * time.Second // a request for the next message
)

// messages fires triggers for messages of queues, with a listener for each feed.
type messages struct {
	*Feeds
	wake   chan struct{}
	links  *links
	starts chan struct{}
	budget *budget
	wg     sync.WaitGroup
}

// run maintains a listener for the current version of each feed.
func (m *messages) run(ctx context.Context) {
	late, cancel := m.graceful(ctx)
	defer cancel()
	running := map[state.MessageFeedsRow]context.CancelFunc{}
	for ctx.Err() == nil {
		wanted, err := m.Store.MessageFeeds(ctx, m.Store.Pool)
		if err == nil {
			m.adjust(ctx, late, running, wanted)
		} else if ctx.Err() == nil {
			m.Logger.WarnContext(ctx, "feeds of messages cannot be read", "error", err)
		}
		sleep(ctx, m.Pace.Look, m.wake)
	}
	m.wg.Wait() // for the listeners, whose contexts have ended with ctx
}

func (m *messages) adjust(ctx, late context.Context, running map[state.MessageFeedsRow]context.CancelFunc, wanted []state.MessageFeedsRow) {
	keep := map[state.MessageFeedsRow]bool{}
	for _, key := range wanted {
		keep[key] = true
	}
	for key, stop := range running {
		if !keep[key] {
			stop()
			delete(running, key)
		}
	}
	for key := range keep {
		if running[key] != nil {
			continue
		}
		own, stop := context.WithCancel(ctx)
		running[key] = stop
		l := &listener{messages: m, id: key.ID, version: key.Version}
		m.wg.Go(func() { l.run(own, late) })
	}
}

type listener struct {
	*messages
	id      uuid.UUID
	version int64

	feed     state.Feed
	settings listening
	limits   state.Limits
	slots    *slots

	troubleMu sync.Mutex
	troubled  bool
}

// run listens until ctx ends, and retries with backoff.
func (l *listener) run(ctx, late context.Context) {
	secret, err := l.load(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errStopped) {
			l.Logger.ErrorContext(ctx, "a feed cannot be read", "feed", l.id, "error", err)
		}
		return
	}
	l.slots = &slots{most: int(l.settings.MaxInFlight), budget: l.budget, freed: make(chan struct{}, 1)}
	for attempts := 1; ; attempts++ {
		began := time.Now()
		changed, err := l.listen(ctx, late, secret)
		if ctx.Err() != nil || errors.Is(err, errStopped) {
			return
		}
		if time.Since(began) > l.Pace.Look {
			attempts = 1
		}
		l.report(ctx, explain(err))
		l.Logger.InfoContext(ctx, "a feed does not listen", "namespace", l.feed.Namespace, "trigger", l.feed.Trigger, "attempts", attempts, "error", explain(err))
		wait := min(l.Pace.pause(attempts), l.Pace.Look)
		sleep(ctx, wait/2+rand.N(wait/2+1), changed) //nolint:gosec // jitter is no secret
	}
}

// load reads the feed, and retries while the database is unavailable.
func (l *listener) load(ctx context.Context) (secret credentials, err error) {
	for range l.Pace.attempts(ctx, l.Pace.RetryMost) {
		row, err := l.Store.MessageFeed(ctx, l.Store.Pool, state.MessageFeedParams{ID: l.id, Version: l.version})
		if err == nil {
			return l.decode(row)
		}
		if state.NotFound(err) || ctx.Err() != nil {
			break
		}
		l.Logger.WarnContext(ctx, "a feed cannot be read yet", "feed", l.id, "error", err)
	}
	return secret, errStopped
}

func (l *listener) decode(row state.MessageFeedRow) (secret credentials, err error) {
	l.feed = row.Feed
	if l.settings, err = decode[listening](row.Feed); err != nil {
		return secret, err
	}
	if err := json.Unmarshal(row.Limits, &l.limits); err != nil {
		return secret, fmt.Errorf("limits: %w", err)
	}
	plain, err := l.Sealer.Open(place(l.id), l.feed.Sealed)
	if err != nil {
		return secret, err
	}
	if json.Unmarshal(plain, &secret) != nil {
		return secret, errors.New("the credentials cannot be read")
	}
	return secret, nil
}

// listen takes messages until an error. changed may be closed when a retry may succeed.
func (l *listener) listen(ctx, late context.Context, secret credentials) (changed <-chan struct{}, err error) {
	on, err := l.links.use(secret)
	if err != nil {
		return nil, err
	}
	defer on.release()
	connection, changed := on.changes()
	select {
	case l.starts <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	consumer, err := l.ensure(ctx, on, l.id, l.version, l.settings)
	<-l.starts
	if err != nil {
		return changed, err
	}
	l.report(ctx, "")
	connected, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(connection, func() { stop(nats.ErrDisconnected) })()
	// Work on received messages continues when the connection is lost.
	return changed, l.pull(connected, consumer, func(message jetstream.Msg) uint64 {
		return l.take(ctx, late, on, consumer, message)
	})
}

// pull takes as many messages as there are slots. It waits for one message at a time, so
// that an idle feed occupies one slot, and then takes the messages behind it.
func (l *listener) pull(ctx context.Context, consumer jetstream.Consumer, take func(jetstream.Msg) (waiting uint64)) error {
	waiting := uint64(0)
	for ctx.Err() == nil {
		want := int(min(max(waiting, 1), maxInFlight))
		granted := l.slots.reserve(want)
		if granted == 0 {
			select {
			case <-l.slots.freed:
			case <-ctx.Done():
			}
			continue
		}
		batch, cancel, err := fetch(ctx, consumer, granted, waiting > 0)
		if err != nil {
			l.slots.give(granted)
			return err
		}
		waiting = 0
		for message := range batch.Messages() {
			granted--
			waiting = take(message)
		}
		cancel()
		l.slots.give(granted)
		if err := batch.Error(); err != nil && !noMessages(err) {
			return err
		}
	}
	return context.Cause(ctx)
}

// fetch requests waiting messages, or waits for one.
func fetch(ctx context.Context, consumer jetstream.Consumer, n int, waiting bool) (jetstream.MessageBatch, context.CancelFunc, error) {
	if waiting {
		batch, err := consumer.FetchNoWait(n)
		return batch, func() {}, err
	}
	ctx, cancel := context.WithTimeout(ctx, pullWait)
	batch, err := consumer.Fetch(n, jetstream.FetchContext(ctx))
	if err != nil {
		cancel()
	}
	return batch, cancel, err
}

func noMessages(err error) bool {
	return isAny(err, context.DeadlineExceeded, context.Canceled, jetstream.ErrNoMessages, nats.ErrTimeout)
}

// take starts work on a message, and returns the number of messages behind it.
func (l *listener) take(ctx, late context.Context, on *link, consumer jetstream.Consumer, message jetstream.Msg) (waiting uint64) {
	meta, err := message.Metadata()
	if err != nil {
		l.slots.give(1)
		return 0 // not a message of a stream, so it cannot be answered
	}
	on.retain()
	w := &work{listener: l, on: on, message: message, meta: meta, ackWait: consumer.CachedInfo().Config.AckWait}
	l.wg.Go(func() {
		defer on.release()
		defer l.slots.give(1)
		w.run(ctx, late)
	})
	return meta.NumPending
}

// report records for READ why the feed does not run; empty means that it runs.
func (l *listener) report(ctx context.Context, trouble string) {
	l.troubleMu.Lock()
	defer l.troubleMu.Unlock()
	p := state.TroubleFeedParams{ID: l.id, Version: l.version}
	if trouble != "" {
		p.Trouble = &trouble
	} else if !l.troubled {
		return
	}
	err := l.Store.TroubleFeed(ctx, l.Store.Pool, p)
	if err == nil {
		l.troubled = trouble != ""
	} else if ctx.Err() == nil {
		l.Logger.WarnContext(ctx, "a feed's trouble cannot be recorded", "error", err)
	}
}
