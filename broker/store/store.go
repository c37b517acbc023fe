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
	// Queue is for the job queue's own bookkeeping: which jobs are being worked
	// on and when the next turn is. Its commits do not wait for the disk; where
	// the server crashes before they got there, a job is worked on once more,
	// which operations are made for. Accepting and ending are in Pool.
	Queue *pgxpool.Pool

	exhaustion exhaustion
}

// idleLimit is how long a transaction may do nothing: a replica that is paused, or
// whose machine is gone, loses its connections after it, and with them its locks.
const idleLimit = 10 * time.Second

// queueConnections are enough for River's fetching, listening and maintenance.
const queueConnections = 8

// Open connects to the database at url, with connections for so many at once,
// and waits for it up to the context's deadline, where that has one: the
// database may be starting too.
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
	config.ConnConfig.Tracer = &s.exhaustion
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

// awaitServer waits until the server takes connections. A server that refuses them,
// for a wrong password or database, will go on to do so.
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

// InTx runs f in a transaction that is committed when f returns nil.
func (s *Store) InTx(ctx context.Context, f func(pgx.Tx) error) error {
	return s.InTxWith(ctx, &Batch{}, func(tx *Tx) error { return f(tx) })
}

// InTxWith is InTx for a transaction that begins with a batch.
func (s *Store) InTxWith(ctx context.Context, first *Batch, f func(*Tx) error) error {
	tx, err := s.BeginWith(ctx, first)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// HoldLocks calls what has nothing to do with the database while tx keeps its locks:
// a backend, or the credential store. do's context ends when they are lost, which
// is Outside's error then. do must not use tx.
func HoldLocks(ctx context.Context, tx pgx.Tx, do func(context.Context) error) error {
	return HoldLocksAndWatch(ctx, tx, do, func(ctx context.Context) error {
		_, err := tx.Exec(ctx, "select 1")
		return err
	})
}

// HoldLocksAndWatch is Outside, and lets watch use tx every few seconds, which keeps
// it from being idle. An error of watch's means that the locks are lost.
func HoldLocksAndWatch(ctx context.Context, tx pgx.Tx, do, watch func(context.Context) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done, lost := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(idleLimit / 5)
		defer tick.Stop()
		for {
			select {
			case <-done:
				lost <- nil
				return
			case <-tick.C:
			}
			if err := watchOnce(ctx, watch); err != nil {
				cancel()
				lost <- fmt.Errorf("the lock was lost: %w", err)
				return
			}
		}
	}()
	defer func() { // after a panic too: nobody may use tx twice at once
		close(done)
		if gone := <-lost; gone != nil {
			err = gone
		}
	}()
	return do(ctx)
}

// watchOnce has a context of its own: the end of the caller's must not break the
// transaction that is to record what came of the call.
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

// Version returns the version that the database is at, 0 where it has no tables of
// the broker, and the one that this release needs.
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

// NotFound says whether err is that of a query for one row that is not there.
func NotFound(err error) bool { return errors.Is(err, pgx.ErrNoRows) }
