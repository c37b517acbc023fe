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

// options are the settings beside the bound services.
type options struct {
	functions string // the folder with crop.wasm and compress.wasm
	address   string // the forum's IP address
	host      string // the forum's name in the zone
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
		return openQueue(ctx, set, log, f.report)
	}, "nats")
	f.name = newLink(log, "name", o.register, "dns")
	f.functions = newLink(log, "functions", o.deploy, "openwhisk", "nats")
	return f
}

// anyLink is a link of any type.
type anyLink interface {
	run(ctx context.Context)
	rebind(all bindings.Set)
	status() linkStatus
}

func (f *forum) links() map[string]anyLink {
	return map[string]anyLink{
		"database": f.database, "bucket": f.bucket, "queue": f.queue, "name": f.name, "functions": f.functions,
	}
}

// run works until the context ends, and returns when all connections are closed.
func (f *forum) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, l := range f.links() {
		running.Go(func() { l.run(ctx) })
	}
	running.Go(func() { f.announceLate(ctx) })
}

func (f *forum) rebind(set bindings.Set) {
	for _, l := range f.links() {
		l.rebind(set)
	}
}

// photograph is a file that a visitor sent.
type photograph struct {
	content io.Reader
	size    int64
	kind    string // its media type
}

// register makes a member: photograph, row and event, in this order. Once the row exists, the
// event follows, now or from announceLate, and with it the picture. It removes a photograph
// without a row, if possible.
func (f *forum) register(ctx context.Context, name string, p photograph) (member, error) {
	m := member{ID: strings.ToLower(rand.Text()), Name: name, Registered: time.Now()}
	m.Photograph = "photographs/" + m.ID
	err := f.bucket.do(func(b *bucket) error {
		if err := b.put(ctx, m.Photograph, p.content, p.size, p.kind); err != nil {
			return fmt.Errorf("store the photograph: %w", err)
		}
		if err := f.database.do(func(d *database) error { return d.add(ctx, m) }); err != nil {
			return errors.Join(fmt.Errorf("store the member: %w", err), b.remove(context.WithoutCancel(ctx), m.Photograph))
		}
		return nil
	})
	if err != nil {
		return m, err
	}
	if err := f.announce(ctx, m); err != nil {
		f.log.Warn("a photograph is announced later", "member", m.ID, "error", err)
	}
	return m, nil
}

// announce puts the event on the queue, and records that in the database.
func (f *forum) announce(ctx context.Context, m member) error {
	if err := f.queue.do(func(q *queue) error { return q.announce(ctx, m) }); err != nil {
		return err
	}
	return f.database.do(func(d *database) error { return d.announced(ctx, m.ID) })
}

// The interval in which the forum looks for late announcements, the age that makes one late,
// and the number that it sends at a time.
const (
	lateEvery = 2 * time.Second
	lateAfter = 5 * time.Second
	lateMost  = 100
)

// announceLate sends the events of members who registered while the queue or the forum failed.
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
	return f.database.do(func(d *database) error {
		late, err := d.unannounced(ctx, lateAfter, lateMost)
		for _, m := range late {
			if err := f.announce(ctx, m); err != nil {
				return err
			}
		}
		return err
	})
}

// report stores a report.
func (f *forum) report(ctx context.Context, r report) error {
	return f.database.do(func(d *database) error { return d.report(ctx, r) })
}
