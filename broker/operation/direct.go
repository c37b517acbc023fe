package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/broker/tracing"
	"github.com/chandler-broker/chandler/services"
)

// direct attempts operations on the replica that accepted them, as soon as they are
// committed, so that no job is written, fetched and completed. An operation without a job
// is as durable as one with: the sweeper of any replica gives one to what nobody works on.
// One that has to wait for long gets its job here.
type direct struct {
	engine *Engine

	mu      sync.Mutex
	ctx     context.Context // of the attempts; nil: nothing begins
	cancel  context.CancelFunc
	busy    map[string]int // the server's workers under way, by queue; jobs' included
	free    map[string]chan struct{}
	waiting map[string]int         // operations that wait for a worker, by queue
	results map[string]*completion // by operation
	working sync.WaitGroup
}

const (
	// directFor is how long an operation may do without a job: less than the sweeper
	// waits.
	directFor = 4 * time.Second
	// workerTime is how long an operation waits for a worker without a job: a burst
	// passes, and a server that hangs keeps little in memory.
	workerTime = time.Second
	// longestPause is what is waited for between two attempts without a job.
	longestPause = 2 * time.Second
	// resultFor is how long a result can be asked for.
	resultFor = 5 * time.Second
	// schedulerInterval is how often the queue's leader looks for what is due.
	schedulerInterval = 5 * time.Second
	// handOverTime bounds the writing of a job.
	handOverTime = 5 * time.Second
	// stopTime is what interrupted attempts have to end.
	stopTime = 1500 * time.Millisecond
)

// completion is what becomes of an operation that is attempted here.
type completion struct {
	done  chan struct{} // is closed when the operation ended or has a job
	ended *Ended        // nil: it has a job, or another replica ended it
}

// Ended is an operation that this replica ended a moment ago, with what was written then.
type Ended struct {
	Operation store.Operation
	// Binding and Credentials are those of a bind that succeeded.
	Binding     store.Binding
	Credentials *services.Credentials
}

func newDirect(e *Engine) *direct {
	return &direct{
		engine: e, busy: map[string]int{}, free: map[string]chan struct{}{}, waiting: map[string]int{}, results: map[string]*completion{},
	}
}

func (d *direct) start(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx, d.cancel = context.WithCancel(ctx)
}

// stop lets attempts end up to ctx's deadline, and interrupts them then.
func (d *direct) stop(ctx context.Context) {
	d.mu.Lock()
	cancel := d.cancel
	d.ctx = nil
	d.mu.Unlock()
	if cancel == nil {
		return
	}
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); d.working.Wait() }()
	select {
	case <-ended:
		return
	case <-ctx.Done():
		cancel()
	}
	select {
	case <-ended:
	case <-time.After(stopTime):
	}
}

// reserved is how many workers of each server only jobs have, so that what waits in the
// queue is worked off under any load.
func (d *direct) reserved() int { return d.engine.Workers / 4 }

// accepts says whether an operation may begin without a job: no more wait for a worker
// than are soon worked off.
func (d *direct) accepts(queue string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ctx != nil && d.waiting[queue] < 8*d.engine.Workers
}

// take takes one of a server's workers but for the reserved ones.
func (d *direct) take(queue string, reserved int) (release func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[queue] >= d.engine.Workers-reserved {
		return nil, false
	}
	d.busy[queue]++
	d.signal(queue)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.busy[queue]--
		d.signal(queue)
	}, true
}

// signal wakes one that waits for a worker, if one is free.
func (d *direct) signal(queue string) {
	if d.busy[queue] >= d.engine.Workers-d.reserved() {
		return
	}
	select {
	case d.freed(queue) <- struct{}{}:
	default: // somebody is being woken
	}
}

func (d *direct) freed(queue string) chan struct{} {
	if d.free[queue] == nil {
		d.free[queue] = make(chan struct{}, 1)
	}
	return d.free[queue]
}

// await takes a worker as soon as one is free; ok is false where none was for a while.
func (d *direct) await(ctx context.Context, queue string) (release func(), ok bool) {
	d.mu.Lock()
	freed := d.freed(queue)
	d.waiting[queue]++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.waiting[queue]--
	}()
	timeout := time.NewTimer(workerTime)
	defer timeout.Stop()
	for {
		if release, ok := d.take(queue, d.reserved()); ok {
			return release, true
		}
		select {
		case <-freed:
		case <-timeout.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}

// begin works on an operation that is committed and has no job.
func (d *direct) begin(args job, queue string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx := d.ctx
	if ctx == nil { // stopped since it was accepted: the sweeper gives it a job
		return
	}
	c := &completion{done: make(chan struct{})}
	d.results[args.OperationID] = c
	d.working.Go(func() {
		defer func() {
			close(c.done)
			time.AfterFunc(resultFor, func() { d.forget(args.OperationID) })
		}()
		d.work(tracing.Continue(ctx, args.Traceparent), args, queue)
	})
}

func (d *direct) forget(operationID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.results, operationID)
}

func (d *direct) work(ctx context.Context, args job, queue string) {
	defer func() {
		if p := recover(); p != nil { // the sweeper gives it a job
			d.engine.Logger.ErrorContext(ctx, "attempt panicked", "operation_id", args.OperationID,
				"panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		}
	}()
	began := time.Now()
	for {
		wait, ok := d.attempts(ctx, args, queue, began)
		if wait == noAttempt {
			return
		}
		if !ok || wait > longestPause || time.Since(began)+wait > directFor || !sleep(ctx, wait) {
			d.engine.handOver(ctx, args, queue, wait)
			return
		}
	}
}

// attempts is Engine.run with a worker of the server; ok is false where none is free.
func (d *direct) attempts(ctx context.Context, args job, queue string, began time.Time) (wait time.Duration, ok bool) {
	release, ok := d.await(ctx, queue)
	if !ok {
		return 0, false
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, jobTime)
	defer cancel()
	return d.engine.run(ctx, &river.Job[job]{JobRow: &rivertype.JobRow{CreatedAt: began, Queue: queue}, Args: args}), true
}

// sleep returns false where ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// handOver gives a job to an operation that has none. Where that fails, the sweeper does.
func (e *Engine) handOver(ctx context.Context, args job, queue string, wait time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOverTime)
	defer cancel()
	o := &river.InsertOpts{Queue: queue}
	if wait > 0 {
		o.ScheduledAt = time.Now().Add(wait)
	}
	err := e.Store.InTx(ctx, func(tx pgx.Tx) error {
		id, err := e.insertJob(ctx, tx, args, o)
		if err != nil {
			return err
		}
		return store.SendBatch(ctx, tx, func(db store.DBTX) error {
			var soon error
			if wait <= schedulerInterval {
				soon = e.Store.MakeJobAvailable(ctx, db, id)
			}
			// Where it has got one meanwhile, this one does nothing.
			return errors.Join(soon, e.Store.SetFirstJob(ctx, db, store.SetFirstJobParams{ID: args.OperationID, JobID: id}))
		})
	})
	if err != nil {
		e.Logger.WarnContext(ctx, "operation could not be enqueued; the next sweep does it",
			"operation_id", args.OperationID, "instance_id", args.InstanceID, "binding_id", args.BindingID, "error", err.Error())
	}
}

// ended keeps what an operation ended with for those who wait for it here.
func (d *direct) ended(op store.Operation, b store.Binding, r result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.results[op.ID]
	if !ok {
		return
	}
	now := time.Now()
	op.FinishedAt = &now
	c.ended = &Ended{Operation: op}
	if op.Kind == store.Bind && op.State == store.Succeeded {
		b.Status, b.Endpoints = store.Ready, endpointsJSON(r.credentials.Endpoints)
		c.ended.Binding, c.ended.Credentials = b, r.credentials
	}
}

func endpointsJSON(endpoints []services.Endpoint) json.RawMessage {
	raw, _ := json.Marshal(append([]services.Endpoint{}, endpoints...)) // texts always encode
	return raw
}

func (d *direct) completion(operationID string) *completion {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.results[operationID]
}

func (c *completion) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Ended returns what an operation ended with, where this replica ended it a moment ago.
func (e *Engine) Ended(operationID string) (Ended, bool) {
	c := e.direct.completion(operationID)
	if c == nil || !c.isDone() || c.ended == nil {
		return Ended{}, false
	}
	return *c.ended, true
}
