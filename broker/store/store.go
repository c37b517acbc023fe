// Package store keeps the broker's state in PostgreSQL: instances, bindings,
// operations and the audit record. Its queries are in queries.sql; "sqlc generate"
// in this folder turns them into methods. The state holds no secret but, without
// Vault, credentials that package sealed has encrypted.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the state. It is safe for concurrent use.
type Store struct {
	*Queries
	Pool *pgxpool.Pool
	// Queue is for the job queue's own bookkeeping: which jobs run and when the
	// next attempt is. Its commits do not wait for the disk. If the server crashes
	// before they are on disk, a job runs once more, which operations allow for.
	// Operations are accepted and ended in Pool.
	Queue *pgxpool.Pool

	exhaustion exhaustion
}

// idleLimit is how long a transaction may be idle. A replica that is paused, or whose
// machine is gone, then loses its connections, and with them its locks.
const idleLimit = 10 * time.Second

// queueConnections are enough for River's fetching, listening and maintenance.
const queueConnections = 8

// Open connects to the database at url, with at most so many connections. If ctx has a
// deadline, Open waits until then for a database that is starting.
func Open(ctx context.Context, url string, connections int) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The parser's message quotes the URL with its password taken out, and
		// not always all of it.
		return nil, errors.New("DATABASE_URL is not a PostgreSQL URL (postgres://user:password@host:port/database)")
	}
	config.MinConns = 1
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.ConnConfig.RuntimeParams["application_name"] = "chandler"
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = idleLimit.String()
	s := &Store{Queries: New()}
	config.ConnConfig.Tracer = s.exhaustion.tracer()
	if s.Pool, err = openPool(ctx, config.Copy(), connections); err != nil {
		return nil, err
	}
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	if s.Queue, err = openPool(ctx, config, queueConnections); err != nil {
		s.Pool.Close()
		return nil, err
	}
	return s, nil
}

func openPool(ctx context.Context, config *pgxpool.Config, connections int) (*pgxpool.Pool, error) {
	config.MaxConns = int32(connections)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the state database: %w", err)
	}
	if err := awaitServer(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach the state database: %w", err)
	}
	return pool, nil
}

// awaitServer waits until the server takes connections. It does not wait for a server that
// refuses the password or the database.
func awaitServer(ctx context.Context, pool *pgxpool.Pool) error {
	for {
		err := pool.Ping(ctx)
		if _, bounded := ctx.Deadline(); err == nil || !bounded || isRefusal(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func isRefusal(err error) bool {
	const startingUp = "57P03" // cannot_connect_now (PostgreSQL manual, appendix A)
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code != startingUp
}

// Close closes all connections.
func (s *Store) Close() {
	s.Queue.Close()
	s.Pool.Close()
}

// HoldLocks calls do, which uses a backend or the credential store, while tx keeps its
// locks. If they are lost, do's context ends, and HoldLocks returns an error that says so.
// do must not use tx.
func HoldLocks(ctx context.Context, tx pgx.Tx, do func(context.Context) error) error {
	return HoldLocksAndWatch(ctx, tx, do, func(ctx context.Context) error {
		_, err := tx.Exec(ctx, "select 1")
		return err
	})
}

// HoldLocksAndWatch is HoldLocks, and calls watch every few seconds. watch uses tx, so that
// tx is never idle for long. An error of watch means that the locks are lost.
func HoldLocksAndWatch(ctx context.Context, tx pgx.Tx, do, watch func(context.Context) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var lost error
	var watching sync.WaitGroup
	done := make(chan struct{})
	watching.Go(func() {
		for tick := time.Tick(idleLimit / 5); lost == nil; {
			select {
			case <-done:
				return
			case <-tick:
				lost = watchOnce(ctx, watch)
			}
		}
		cancel()
	})
	defer func() { // after a panic too: two goroutines must not use tx at once
		close(done)
		watching.Wait()
		if lost != nil {
			err = fmt.Errorf("the lock was lost: %w", lost)
		}
	}()
	return do(ctx)
}

// watchOnce has a context of its own: if the caller's ends, tx must still be able to
// record the result.
func watchOnce(ctx context.Context, watch func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), idleLimit/3)
	defer cancel()
	return watch(ctx)
}

// migrateLock is any number that no other lock in this database uses.
const migrateLock = 7_241_135_001

// Migrate brings the database to this version of the broker, its own tables
// and River's. Any number of replicas may call it at once.
func (s *Store) Migrate(ctx context.Context, logger *slog.Logger) error {
	conn, err := s.Pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("reach the state database: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", migrateLock); err != nil {
		return fmt.Errorf("lock the state database for migration: %w", err)
	}
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", migrateLock)
	}()
	if err := s.migrateOwn(ctx, logger); err != nil {
		return err
	}
	return s.migrateRiver(ctx, logger)
}

// Version returns the version of the database, 0 if it has no tables of the broker, and
// the version that this release needs.
func (s *Store) Version(ctx context.Context) (has, needs int64, err error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return 0, 0, err
		}
		needs = max(needs, version)
	}
	var exists bool
	if err := s.Pool.QueryRow(ctx, "select to_regclass('goose_db_version') is not null").Scan(&exists); err != nil || !exists {
		return 0, needs, err
	}
	err = s.Pool.QueryRow(ctx, "select coalesce(max(version_id), 0) from goose_db_version where is_applied").Scan(&has)
	return has, needs, err
}

func (s *Store) migrateOwn(ctx context.Context, logger *slog.Logger) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(s.Pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the state database: %w", err)
	}
	for _, r := range results {
		logger.InfoContext(ctx, "state database migrated", "version", r.Source.Version)
	}
	return nil
}

func (s *Store) migrateRiver(ctx context.Context, logger *slog.Logger) error {
	m, err := rivermigrate.New(riverpgxv5.New(s.Pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("read the job queue's migrations: %w", err)
	}
	result, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("migrate the job queue: %w", err)
	}
	for _, v := range result.Versions {
		logger.InfoContext(ctx, "job queue migrated", "version", v.Version)
	}
	return nil
}

// NotFound reports whether a query for one row found none.
func NotFound(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// IsStale reports whether a statement found that what it depends on has changed since it
// was read: FinishOperation or InsertBinding. Read it again.
func IsStale(err error) bool {
	const invalidText = "22P02" // PostgreSQL manual, appendix A
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == invalidText && strings.Contains(pg.Message, "the row has changed meanwhile")
}
