// Package state is the PostgreSQL database that the functions' runtimes share, in the
// schema "functions". sqlc generates methods from the files in queries/ ("sqlc generate"
// in this folder). Secrets are sealed (Sealer) or hashed.
package state

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schema contains all tables, so that the database may contain other things.
const schema = "functions"

// Store is the state. It is safe for concurrent use.
type Store struct {
	*Queries
	Pool *pgxpool.Pool
}

// Open returns a Store of the database at url, a PostgreSQL connection string, with a
// maximum of connections. It does not connect yet: Ready and the queries fail if the
// database is unavailable.
func Open(ctx context.Context, url string, connections int32) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The parser's message quotes the URL, and does not always remove all of its password.
		return nil, errors.New("is not a PostgreSQL URL (postgres://user:password@host:port/database)")
	}
	config.MaxConns = connections
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.ConnConfig.RuntimeParams["application_name"] = "chandler functions"
	config.ConnConfig.RuntimeParams["search_path"] = schema
	// A runtime that hangs or whose machine fails must not hold locks for long.
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "30s"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the functions' database: %w", err)
	}
	return &Store{Queries: New(), Pool: pool}, nil
}

// Close closes all connections.
func (s *Store) Close() { s.Pool.Close() }

// Ready returns nil if the database answers.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.Pool.Ping(ctx); err != nil {
		return fmt.Errorf("reach the functions' database: %w", err)
	}
	return nil
}

// CopyPatience is how long the copy of a namespace waits for one read or write of its other
// side, such as while the store of copies is slow.
const CopyPatience = 15 * time.Minute

// Snapshot runs f in a transaction that reads the database as of one point in time. f may pause
// for CopyPatience between two queries.
func (s *Store) Snapshot(ctx context.Context, f func(pgx.Tx) error) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, s.Pool, options, func(tx pgx.Tx) error {
		patience := strconv.FormatInt(CopyPatience.Milliseconds(), 10)
		if _, err := tx.Exec(ctx, "select set_config('idle_in_transaction_session_timeout', $1, true)", patience); err != nil {
			return fmt.Errorf("begin a snapshot: %w", err)
		}
		return f(tx)
	})
}

// InTx runs f in a transaction, and commits it if f returns nil.
func (s *Store) InTx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.Pool, f)
}

// Numbers of advisory locks, arbitrary and unique in this database.
const (
	aloneLock   = 1_724_113 // the first half of Alone's locks
	migrateLock = 7_241_135_005
)

// Alone is InTx under the lock of that name, for changes that must have ended when the next
// one begins. A single statement would not do: if it is abandoned, it may still arrive and
// take effect later. In the transaction, nothing takes effect before the commit, which
// holds the lock until it ends; the server aborts an abandoned transaction. The error is
// Locked if other changes take too long.
func (s *Store) Alone(ctx context.Context, name string, f func(pgx.Tx) error) error {
	return s.InTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `select set_config('idle_in_transaction_session_timeout', '5s', true), set_config('lock_timeout', '10s', true),
			pg_advisory_xact_lock($1, hashtext($2))`, aloneLock, name)
		if err != nil {
			return fmt.Errorf("wait for the previous change: %w", err)
		}
		return f(tx)
	})
}

// Migrate brings the database to this version. Any number of runtimes may call it at once.
// If there is nothing to do, it is one query.
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
		return fmt.Errorf("create the schema %s: %w", schema, err)
	}
	return s.migrate(ctx, files, logger)
}

// current says whether the database has this version or a later one.
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

// makeSchema queries first: "if not exists" requires the right to create a schema even if
// it exists.
func makeSchema(ctx context.Context, conn *pgxpool.Conn) error {
	var exists bool
	err := conn.QueryRow(ctx, "select to_regnamespace($1) is not null", schema).Scan(&exists)
	if err != nil || exists {
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

// NotFound says whether err means that a query for one row found none.
func NotFound(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// undefinedTable means that a table or its schema does not exist (PostgreSQL manual,
// appendix A).
const undefinedTable = "42P01"

// Locked says whether err means that a change waited too long for another one.
func Locked(err error) bool { return hasCode(err, "55P03") } // lock_not_available

// NoRoom says whether err means that the database's disk is full.
func NoRoom(err error) bool { return hasCode(err, "53100") } // disk_full

// Duplicate says whether err means that the row exists already.
func Duplicate(err error) bool { return hasCode(err, "23505") } // unique_violation

func hasCode(err error, code string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == code
}

// Unavailable says whether err means that the database is unavailable, or accepts no
// connections or no writes at the moment. A retry may succeed.
func Unavailable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		// Classes of codes: connection exception, transaction rollback (such as a
		// deadlock), insufficient resources, operator intervention; and a read-only standby.
		class := pg.Code[:min(2, len(pg.Code))]
		return class == "08" || class == "40" || class == "53" || class == "57" || pg.Code == "25006"
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	// The last three mean that the connection was lost in a transaction.
	if connecting || network || errors.Is(err, io.EOF) || errors.Is(err, pgx.ErrTxClosed) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return true
	}
	return err != nil && (pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "unexpected EOF"))
}
