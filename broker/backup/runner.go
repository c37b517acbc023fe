package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Archive is what a Runner needs of Objects.
type Archive interface {
	Ready(ctx context.Context) error
	Write(ctx context.Context, name string, to []age.Recipient, limit int64, progress func(raw int64),
		write func(context.Context, io.Writer) (services.Contents, error)) (Stored, error)
	Check(ctx context.Context, s Stored) error
	Read(ctx context.Context, key age.Identity, s Stored, progress func(raw int64), read func(context.Context, io.Reader) error) error
	PutManifest(ctx context.Context, m Manifest) error
	Delete(ctx context.Context, name string) error
}

// RunnerOptions are the parts of a Runner.
type RunnerOptions struct {
	Store       *store.Store
	Catalog     *catalog.Catalog
	Drivers     map[string]*services.Driver // by the servers' keys in the catalog
	Credentials credhub.Store
	// Archive stores the backups that servers do not hold; nil: there are none.
	Archive Archive
	// Recipients are the operator's, to whom every backup is encrypted too.
	Recipients []*age.X25519Recipient
	Logger     *slog.Logger
	// AtOnce is how many copies run at once on a server, over all replicas.
	AtOnce int
	// SweepEvery is how often servers are asked for backups that they hold and no row names, and
	// SweepAfter how old one is when it is deleted; 0: 6 h and 7 days.
	SweepEvery, SweepAfter time.Duration
	// Every is how often the runner looks for work that nobody told it of; 0: 3 s.
	Every time.Duration
	// OnFinished, if not nil, is called with every copy that this replica ended.
	OnFinished func(Finished)
}

// Finished is a copy that ended.
type Finished struct {
	Copy    store.Copy
	Backup  store.Backup
	Outcome store.CopyState
	// Took is the duration of the last attempt, and Raw how many bytes it copied.
	Took time.Duration
	Raw  int64
}

// Runner makes, restores, verifies and deletes backups, as the rows in the state say. Any number
// of replicas have one. A copy is worked on under locks of a transaction: a replica that dies or
// loses its connection loses them, and another one begins the copy anew.
type Runner struct {
	RunnerOptions
	woken   chan struct{}
	running sync.Map // of *work, by the copy's ID

	cancel     context.CancelFunc
	goroutines sync.WaitGroup
	attempts   sync.WaitGroup
	// resting is until when nothing is deleted, after the store failed.
	resting time.Time
	// restingServers is the same for what servers hold, by their keys.
	restingServers map[string]time.Time
	nextSweep      time.Time
	comparison     comparison
}

// NewRunner makes a Runner, which works from Start to Stop.
func NewRunner(o RunnerOptions) *Runner {
	o.AtOnce = max(o.AtOnce, 1)
	if o.Every == 0 {
		o.Every = 3 * time.Second
	}
	if o.Archive == nil {
		o.Archive = noArchive{}
	}
	o.SweepEvery, o.SweepAfter = cmp.Or(o.SweepEvery, sweepEvery), cmp.Or(o.SweepAfter, sweepAfter)
	return &Runner{RunnerOptions: o, woken: make(chan struct{}, 1), restingServers: map[string]time.Time{}, nextSweep: time.Now().Add(o.SweepEvery)}
}

// Start begins to work.
func (r *Runner) Start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.goroutines.Go(func() { r.loop(ctx) })
	r.goroutines.Go(func() { r.upkeep(ctx) })
}

// Stop interrupts what runs, so that other replicas take it up at once.
func (r *Runner) Stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.goroutines.Wait()
		r.attempts.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(stopTime): // their locks end with the process
	}
}

// stopTime is how long interrupted attempts have to end.
const stopTime = 3 * time.Second

// Changed tells the runner that a copy is due or was cancelled.
func (r *Runner) Changed(copyID string) {
	if w, ok := r.running.Load(copyID); ok {
		w.(*work).look()
		return
	}
	select {
	case r.woken <- struct{}{}:
	default: // it is about to look
	}
}

func (r *Runner) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.woken:
		}
		if err := r.beginDue(ctx); err != nil && ctx.Err() == nil {
			r.Logger.WarnContext(ctx, "could not look for copies that are due", "error", err.Error())
		}
		timer.Reset(r.Every)
	}
}

// dueBatch is how many copies of a server a replica looks at: more than may run at once, because
// those that run are among them.
const dueBatch = 200

// beginDue begins the copies for which there are workers.
func (r *Runner) beginDue(ctx context.Context) error {
	var servers []string
	for key := range r.Drivers {
		servers = append(servers, key)
	}
	slices.Sort(servers)
	due, err := r.Store.DueCopies(ctx, r.Store.Pool, store.DueCopiesParams{Servers: servers, Batch: dueBatch})
	if err != nil {
		return err
	}
	var errs []error // an error of one must not delay the others
	full := map[string]bool{}
	for _, d := range due {
		if _, mine := r.running.Load(d.ID); mine || full[d.Server] {
			continue
		}
		var err error
		if full[d.Server], err = r.begin(ctx, d.ID, d.Server); err != nil {
			errs = append(errs, fmt.Errorf("begin copy %s: %w", d.ID, err))
		}
	}
	return errors.Join(errs...)
}

// begin begins a copy unless another replica works on it. full says that no worker of its server
// is free.
func (r *Runner) begin(ctx context.Context, id, server string) (full bool, err error) {
	tx, err := r.Store.BeginWith(ctx, &store.Batch{})
	if err != nil {
		return false, err
	}
	begun := false
	defer func() {
		if !begun {
			_ = tx.Rollback(context.WithoutCancel(ctx))
		}
	}()
	if free, err := r.lockSlot(ctx, tx, server); err != nil || !free {
		return err == nil, err
	}
	row, ok, err := r.lock(ctx, tx, id)
	if err != nil || !ok {
		return false, err
	}
	if row.Copy.Kind == store.CopyRestore && row.Copy.State == store.CopyRunning {
		// Its replica died, and may have restored a part.
		_, err := r.Store.RetryCopy(ctx, tx, store.RetryCopyParams{ID: id, State: store.CopyUnclean, Description: "begins anew after an interruption"})
		return false, errors.Join(err, tx.Commit(ctx))
	}
	begun = true
	r.attempts.Go(func() { r.attempt(ctx, tx, row) })
	return false, nil
}

// lockSlot takes one of the server's workers.
func (r *Runner) lockSlot(ctx context.Context, tx *store.Tx, server string) (bool, error) {
	for slot := range r.AtOnce {
		free, err := r.Store.LockCopySlot(ctx, tx, store.LockCopySlotParams{Server: server, Slot: fmt.Sprint(slot)})
		if err != nil || free {
			return free, err
		}
	}
	return false, nil
}

// lock locks a copy that is due: the resource that it reads or writes, and its backup. The row is
// as it is under the locks, but is not read in tx, which would lock the tables against the migrations
// of the next release for as long as the copy takes.
func (r *Runner) lock(ctx context.Context, tx *store.Tx, id string) (row store.CopyAndBackupRow, ok bool, err error) {
	row, err = r.Store.CopyAndBackup(ctx, r.Store.Pool, id)
	if store.NotFound(err) {
		return row, false, nil
	} else if err != nil {
		return row, false, err
	}
	if ok, err := r.Store.LockCopying(ctx, tx, row.Copy.ResourceName); err != nil || !ok {
		return row, false, err
	}
	lockBackup := r.Store.LockBackupShared
	if row.Copy.Kind == store.CopyBackup {
		lockBackup = r.Store.LockBackup
	}
	if ok, err := lockBackup(ctx, tx, row.Backup.ID); err != nil || !ok {
		return row, false, err
	}
	row, err = r.Store.CopyAndBackup(ctx, r.Store.Pool, id)
	due := row.Copy.State == store.CopyWaiting || row.Copy.State == store.CopyRunning
	return row, err == nil && due && !row.Copy.DueAt.After(time.Now().Add(time.Second)), err
}
