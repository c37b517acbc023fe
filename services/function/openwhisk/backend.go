package openwhisk

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// backend administers the namespaces of one database. It calls no runtime: each of
// them asks the database at every request, and is notified of what it holds in
// memory.
type backend struct {
	store *state.Store
	host  apiHost
	ca    string

	mu       sync.Mutex
	migrated bool
}

func open(ctx context.Context, c Config) (*backend, error) {
	host, err := readHost(c.APIHost)
	if err != nil {
		return nil, fmt.Errorf("api_host: %w", err)
	}
	ca, err := cafile.Read(c.CA, c.CAFile)
	if err != nil {
		return nil, err
	}
	store, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	return &backend{store: store, host: host, ca: ca}, nil
}

// prepare brings the database to this version, unless that was done: brokers and
// runtimes may start in any order.
func (b *backend) prepare(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.migrated {
		return nil
	}
	if err := b.store.Migrate(ctx, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	b.migrated = true
	return nil
}

// Ready implements services.Readier: the database answers and is of this version.
func (b *backend) Ready(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	return b.store.Ready(ctx)
}

// failed says what was being done.
func failed(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	if state.Locked(err) {
		return services.NotYet(time.Second, "waiting for another change of the namespace in the functions' database")
	}
	if state.NoRoom(err) {
		return services.OutOfCapacity(fmt.Errorf("the disk of the functions' database is full; make room on it: %w", err))
	}
	return err
}

// Close implements services.Closer.
func (b *backend) Close() error {
	b.store.Close()
	return nil
}
