package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
)

// options is what is the deployment's, beside the bound services.
type options struct {
	// functions is the folder with crop.wasm and compress.wasm, address where
	// others reach the forum, host its name below the zone.
	functions, address, host string
}

// forum is the application.
type forum struct {
	log       *slog.Logger
	database  *link[*database]
	bucket    *link[*bucket]
	queue     *link[*queue]
	name      *link[*name]
	functions *link[*functions]
}

func newForum(log *slog.Logger, o options) *forum {
	f := &forum{log: log}
	f.database = newLink(log, "database", openDatabase, "postgresql")
	f.bucket = newLink(log, "bucket", openBucket, "s3")
	f.queue = newLink(log, "queue", func(ctx context.Context, set bindings.Set) (*queue, error) {
		return openQueue(ctx, set, log, f.told)
	}, "nats")
	f.name = newLink(log, "name", o.register, "dns")
	f.functions = newLink(log, "functions", o.deploy, "openwhisk", "nats")
	return f
}

// run works until the context ends, and returns when all connections are closed.
func (f *forum) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, each := range []func(context.Context){
		f.database.run, f.bucket.run, f.queue.run, f.name.run, f.functions.run, f.announceLate,
	} {
		running.Go(func() { each(ctx) })
	}
}

func (f *forum) rebind(set bindings.Set) {
	for _, each := range []func(bindings.Set){f.database.rebind, f.bucket.rebind, f.queue.rebind, f.name.rebind, f.functions.rebind} {
		each(set)
	}
}

// photograph is a file as a visitor sent it.
type photograph struct {
	content io.Reader
	size    int64
	kind    string // its media type
}

// register makes a member: photograph, row and event, in this order. Once the row
// is there the event is sure to follow, now or by announceLate, and with it the
// picture. A photograph without a row is removed, as far as that is possible.
func (f *forum) register(ctx context.Context, called string, p photograph) (member, error) {
	m := member{ID: strings.ToLower(rand.Text()), Name: called, Registered: time.Now()}
	m.Photograph = "photographs/" + m.ID
	bucket, done, err := f.bucket.use()
	if err != nil {
		return m, err
	}
	defer done()
	if err := bucket.put(ctx, m.Photograph, p.content, p.size, p.kind); err != nil {
		return m, fmt.Errorf("keep the photograph: %w", err)
	}
	if err := f.insert(ctx, m); err != nil {
		return m, errors.Join(fmt.Errorf("keep the member: %w", err), bucket.remove(context.WithoutCancel(ctx), m.Photograph))
	}
	if err := f.announce(ctx, m); err != nil {
		f.log.Warn("a photograph is announced later", "member", m.ID, "error", err)
	}
	return m, nil
}

func (f *forum) insert(ctx context.Context, m member) error {
	database, done, err := f.database.use()
	if err != nil {
		return err
	}
	defer done()
	return database.add(ctx, m)
}

// announce puts the event on the queue and notes that it did.
func (f *forum) announce(ctx context.Context, m member) error {
	queue, done, err := f.queue.use()
	if err != nil {
		return err
	}
	defer done()
	if err := queue.announce(ctx, m); err != nil {
		return err
	}
	database, release, err := f.database.use()
	if err != nil {
		return err
	}
	defer release()
	return database.announced(ctx, m.ID)
}

// Late announcements: how often the forum looks for them, from when on an event is
// late, and how many it sends at a time.
const (
	lateEvery = 2 * time.Second
	lateAfter = 5 * time.Second
	lateMost  = 100
)

// announceLate sends the events of members who registered while the queue, or the
// forum, went away.
func (f *forum) announceLate(ctx context.Context) {
	ticker := time.NewTicker(lateEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := f.announceAll(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn("photographs wait to be announced", "error", err)
		}
	}
}

func (f *forum) announceAll(ctx context.Context) error {
	database, done, err := f.database.use()
	if err != nil {
		return err
	}
	defer done()
	late, err := database.unannounced(ctx, lateAfter, lateMost)
	if err != nil {
		return err
	}
	for _, m := range late {
		if err := f.announce(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// told keeps a report.
func (f *forum) told(ctx context.Context, r report) error {
	database, done, err := f.database.use()
	if err != nil {
		return err
	}
	defer done()
	return database.report(ctx, r)
}
