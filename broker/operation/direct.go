package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/broker/tracing"
	"github.com/chandler-broker/chandler/services"
)

// direct attempts operations on the replica that accepted them, as soon as they are
// committed, so that no job is written, fetched and completed. An operation without a job
// is as durable as one with a job: the sweeper of any replica gives a job to what nobody
// works on. An operation that has to wait for long gets its job here.
type direct struct {
	engine  *Engine
	workers map[string]*workers // by queue

	mu      sync.Mutex
	ctx     context.Context // of the attempts; nil: nothing begins
	cancel  context.CancelFunc
	working sync.WaitGroup
	results sync.Map // of *completion, by operation
}

const (
	// directFor is how long an operation may have no job: less than the sweeper waits.
	directFor = 4 * time.Second
	// workerTime is how long an operation without a job waits for a worker: long enough
	// for a burst, and short enough that a server that hangs uses little memory.
	workerTime = time.Second
	// longestPause is the longest pause between two attempts without a job.
	longestPause = 2 * time.Second
	// resultFor is how long a result is available.
	resultFor = 5 * time.Second
	// schedulerInterval is how often the queue's leader looks for due jobs.
	schedulerInterval = 5 * time.Second
	// handOverTime bounds the writing of a job.
	handOverTime = 5 * time.Second
	// stopTime is how long interrupted attempts have to end.
	stopTime = 1500 * time.Millisecond
)

// workers are those of one server on this replica. A channel has one element for each
// worker that is busy. Some workers attempt jobs only, so that what waits in the queue is
// worked off under any load.
type workers struct {
	all, direct chan struct{}
	waiting     atomic.Int32 // operations that wait for a worker
}

func newWorkers(n int) *workers {
	return &workers{all: make(chan struct{}, n), direct: make(chan struct{}, n-n/4)}
}

// take takes a worker for a job, if one is free.
func (w *workers) take() bool {
	select {
	case w.all <- struct{}{}:
		return true
	default:
		return false
	}
}

func (w *workers) release() { <-w.all }

// takeDirect waits for a worker for an operation without a job. ok is false if none was
// free for a while.
func (w *workers) takeDirect(ctx context.Context) (release func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, workerTime)
	defer cancel()
	w.waiting.Add(1)
	defer w.waiting.Add(-1)
	select {
	case w.direct <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	select {
	case w.all <- struct{}{}:
		return func() { <-w.all; <-w.direct }, true
	case <-ctx.Done():
		<-w.direct
		return nil, false
	}
}

// completion is the end of an operation that is attempted here.
type completion struct {
	done  chan struct{}         // is closed when the operation ended or has a job
	ended atomic.Pointer[Ended] // nil if it has a job, or another replica ended it
}

// Ended is an operation that this replica ended a moment ago.
type Ended struct {
	Operation store.Operation
	// Binding and Credentials are those of a bind that succeeded.
	Binding     store.Binding
	Credentials *services.Credentials
}

func newDirect(e *Engine) *direct {
	d := &direct{engine: e, workers: map[string]*workers{}}
	for server := range e.Drivers {
		d.workers[queueOf(server)] = newWorkers(e.Workers)
	}
	return d
}

func (d *direct) start(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx, d.cancel = context.WithCancel(ctx)
}

// stop waits for attempts to end until ctx's deadline, and then interrupts them.
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

// accepts reports whether an operation may begin without a job: at most as many wait for a
// worker as are soon worked off.
func (d *direct) accepts(queue string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.workers[queue]
	return d.ctx != nil && ok && int(w.waiting.Load()) < 8*d.engine.Workers
}

// begin works on an operation without a job that has just been committed.
func (d *direct) begin(args job, queue string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx := d.ctx
	if ctx == nil { // stopped meanwhile: the sweeper gives the operation a job
		return
	}
	c := &completion{done: make(chan struct{})}
	d.results.Store(args.OperationID, c)
	d.working.Go(func() {
		defer func() {
			close(c.done)
			time.AfterFunc(resultFor, func() { d.results.Delete(args.OperationID) })
		}()
		d.work(tracing.Continue(ctx, args.Traceparent), args, queue)
	})
}

func (d *direct) work(ctx context.Context, args job, queue string) {
	defer func() {
		if p := recover(); p != nil { // the sweeper gives the operation a job
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

// attempts is Engine.run with a worker of the server; ok is false if none is free.
func (d *direct) attempts(ctx context.Context, args job, queue string, began time.Time) (wait time.Duration, ok bool) {
	release, ok := d.workers[queue].takeDirect(ctx)
	if !ok {
		return 0, false
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, jobTime)
	defer cancel()
	return d.engine.run(ctx, &river.Job[job]{JobRow: &rivertype.JobRow{CreatedAt: began, Queue: queue}, Args: args}), true
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// handOver gives a job to an operation that has none. If it fails, the sweeper does so.
func (e *Engine) handOver(ctx context.Context, args job, queue string, wait time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOverTime)
	defer cancel()
	o := &river.InsertOpts{Queue: queue}
	if wait > 0 {
		o.ScheduledAt = time.Now().Add(wait)
	}
	err := e.Store.InTx(ctx, func(tx *store.Tx) error {
		id, err := e.insertJob(ctx, tx, args, o)
		if err != nil {
			return err
		}
		return tx.Last(func(db store.DBTX) error {
			var soon error
			if wait <= schedulerInterval {
				soon = e.Store.MakeJobAvailable(ctx, db, id)
			}
			// If the operation has got another job meanwhile, this one does nothing.
			return errors.Join(soon, e.Store.SetFirstJob(ctx, db, store.SetFirstJobParams{ID: args.OperationID, JobID: id}))
		})
	})
	if err != nil {
		e.Logger.WarnContext(ctx, "operation could not be enqueued; the next sweep does it",
			"operation_id", args.OperationID, "instance_id", args.InstanceID, "binding_id", args.BindingID, "error", err.Error())
	}
}

// ended passes an operation's end to those who wait for it in this process.
func (d *direct) ended(op store.Operation, b store.Binding, r result) {
	c, ok := d.results.Load(op.ID)
	if !ok {
		return
	}
	now := time.Now()
	op.FinishedAt = &now
	ended := &Ended{Operation: op}
	if op.Kind == store.Bind && op.State == store.Succeeded {
		b.Status, b.Endpoints = store.Ready, endpointsJSON(r.credentials.Endpoints)
		ended.Binding, ended.Credentials = b, r.credentials
	}
	c.(*completion).ended.Store(ended)
}

func endpointsJSON(endpoints []services.Endpoint) json.RawMessage {
	raw, _ := json.Marshal(append([]services.Endpoint{}, endpoints...)) // texts always encode
	return raw
}

// running returns the completion of an operation that is attempted here and has not ended;
// what has ended may have been retried since.
func (d *direct) running(operationID string) *completion {
	c, ok := d.results.Load(operationID)
	if !ok {
		return nil
	}
	select {
	case <-c.(*completion).done:
		return nil
	default:
		return c.(*completion)
	}
}

// Ended returns an operation that this replica ended a moment ago.
func (e *Engine) Ended(operationID string) (Ended, bool) {
	if c, ok := e.direct.results.Load(operationID); ok {
		if ended := c.(*completion).ended.Load(); ended != nil {
			return *ended, true
		}
	}
	return Ended{}, false
}
