// Package state keeps what the functions' runtimes share in PostgreSQL: schema
// "functions" of a database of their own. Its queries are in queries/, a file for
// each kind of thing; sqlc turns them into methods ("sqlc generate" in this
// folder). Secrets that are here are sealed (Sealer) or hashed.
package state

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schema is where all tables are, so that the database may hold other things.
const schema = "functions"

// Store is the state. It is safe for concurrent use.
type Store struct {
	*Queries
	Pool *pgxpool.Pool
}

// Open makes a Store of the database at url, a PostgreSQL connection string, with
// so many connections at most. It makes no connection: a database that is away
// shows in Ready and in the queries.
func Open(ctx context.Context, url string, connections int32) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The parser's message quotes the URL with its password taken out, and
		// not always all of it.
		return nil, errors.New("is not a PostgreSQL URL (postgres://user:password@host:port/database)")
	}
	config.MaxConns = connections
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.ConnConfig.RuntimeParams["application_name"] = "chandler functions"
	config.ConnConfig.RuntimeParams["search_path"] = schema
	// A runtime that hangs, or whose machine is gone, holds no lock for long.
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "30s"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the functions' database: %w", err)
	}
	return &Store{Queries: New(), Pool: pool}, nil
}

// Close closes all connections.
func (s *Store) Close() { s.Pool.Close() }

// Ready returns nil when the database answers.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.Pool.Ping(ctx); err != nil {
		return fmt.Errorf("reach the functions' database: %w", err)
	}
	return nil
}

// InTx runs f in a transaction that is committed when f returns nil.
func (s *Store) InTx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.Pool, f)
}

// aloneLock is the first half of the locks that Alone takes: any number that no
// other lock in this database uses.
const aloneLock = 1_724_113

// Alone is InTx under a lock of that name, for changes that must be over when the
// next one begins. A statement by itself would not be: one that was sent, and given
// up since, may still be on its way, and take effect later. In here nothing does
// before the commit, which is sent only once the server has answered, and holds the
// lock until it is over. A transaction that nobody goes on with ends by itself. The
// error is Locked where other changes last too long.
func (s *Store) Alone(ctx context.Context, name string, f func(pgx.Tx) error) error {
	return s.InTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `select set_config('idle_in_transaction_session_timeout', '5s', true), set_config('lock_timeout', '10s', true),
			pg_advisory_xact_lock($1, hashtext($2))`, aloneLock, name)
		if err != nil {
			return fmt.Errorf("wait for what was begun before: %w", err)
		}
		return f(tx)
	})
}

// lockNotAvailable is PostgreSQL's code where lock_timeout has passed (manual,
// appendix A).
const lockNotAvailable = "55P03"

// Locked says whether err is that of a change that waited too long for another one.
func Locked(err error) bool { return hasCode(err, lockNotAvailable) }

// NotFound says whether err is that of a query for one row that is not there.
func NotFound(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// migrateLock is any number that no other lock in this database uses.
const migrateLock = 7_241_135_005

// Migrate brings the database to this version. Any number of runtimes may call it at
// once; where there is nothing to do it is one query.
func (s *Store) Migrate(ctx context.Context, logger *slog.Logger) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	if current, err := s.current(ctx, files); current || err != nil {
		return err
	}
	conn, err := s.Pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("reach the functions' database: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", migrateLock); err != nil {
		return fmt.Errorf("lock the functions' database for migration: %w", err)
	}
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", migrateLock)
	}()
	if err := makeSchema(ctx, conn); err != nil {
		return fmt.Errorf("make the schema %s: %w", schema, err)
	}
	return s.migrate(ctx, files, logger)
}

// current says whether the database is of this version, or of a later one.
func (s *Store) current(ctx context.Context, files fs.FS) (bool, error) {
	all, err := fs.Glob(files, "*.sql")
	if err != nil {
		return false, err
	}
	newest, err := goose.NumericComponent(all[len(all)-1])
	if err != nil {
		return false, err
	}
	var version int64
	err = s.Pool.QueryRow(ctx, "select coalesce(max(version_id), 0) from goose_db_version").Scan(&version)
	if hasCode(err, undefinedTable) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reach the functions' database: %w", err)
	}
	return version >= newest, nil
}

// undefinedTable is PostgreSQL's code where there is no such table, or no schema
// (manual, appendix A).
const undefinedTable = "42P01"

// makeSchema asks first: "if not exists" needs the right to make one even where
// there is one.
func makeSchema(ctx context.Context, conn *pgxpool.Conn) error {
	var there bool
	err := conn.QueryRow(ctx, "select to_regnamespace($1) is not null", schema).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, "create schema "+schema)
	return err
}

func (s *Store) migrate(ctx context.Context, files fs.FS, logger *slog.Logger) error {
	db := stdlib.OpenDBFromPool(s.Pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the functions' database: %w", err)
	}
	for _, r := range results {
		logger.InfoContext(ctx, "functions database migrated", "version", r.Source.Version)
	}
	return nil
}
