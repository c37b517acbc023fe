// Package sealed stores credentials in the broker's state database, sealed with
// AES-256-GCM: each under a key of its own, which is wrapped by a master key that the
// database never sees. It is for `chandler dev` and for operators without Vault.
//
// A reader of the database, or of a backup, can neither read nor exchange credentials. A
// writer can remove one, or restore what was stored at the same path before.
package sealed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/credhub"
)

// Store is a credential store in PostgreSQL.
type Store struct {
	pool *pgxpool.Pool
	keys Keys
}

var _ credhub.Store = (*Store)(nil)

// Open makes a Store, and its table if that does not exist. Several replicas may do so at
// once. The caller closes pool.
func Open(ctx context.Context, pool *pgxpool.Pool, keys Keys) (*Store, error) {
	if len(keys.all) == 0 {
		return nil, errors.New("sealed credentials: no sealing key is configured")
	}
	s := &Store{pool: pool, keys: keys}
	if err := s.createTable(ctx); err != nil {
		return nil, fmt.Errorf("sealed credentials: make the table: %w", err)
	}
	return s, nil
}

// schema has an index that tells which keys are in use without reading all rows.
const schema = `
CREATE TABLE IF NOT EXISTS sealed_secrets (
	path        text COLLATE "C" PRIMARY KEY,
	key_id      text COLLATE "C" NOT NULL,
	wrapped_key bytea NOT NULL,
	sealed      bytea NOT NULL,
	created_at  timestamptz NOT NULL DEFAULT now(),
	updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS sealed_secrets_key_id ON sealed_secrets (key_id)`

// schemaLock is the advisory lock for making the table. IF NOT EXISTS alone lets one of two
// concurrent replicas fail.
const schemaLock = 0x7365616c6564 // "sealed"

func (s *Store) createTable(ctx context.Context) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
			return err
		}
		var exists bool // a role that may not create tables may use one
		if err := tx.QueryRow(ctx, "SELECT to_regclass('sealed_secrets') IS NOT NULL").Scan(&exists); err != nil || exists {
			return err
		}
		_, err := tx.Exec(ctx, schema)
		return err
	})
}

// insert stores a secret unless its path is taken.
const insert = `
	INSERT INTO sealed_secrets (path, key_id, wrapped_key, sealed) VALUES ($1, $2, $3, $4)
	ON CONFLICT (path) DO `

// replace stores a secret, whatever is at its path.
const replace = insert + `UPDATE SET
	key_id = excluded.key_id, wrapped_key = excluded.wrapped_key, sealed = excluded.sealed, updated_at = now()`

// Ensure implements credhub.Store.
func (s *Store) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (json.RawMessage, error) {
	const contention = 10 // how often others may delete the secret between an insert and a read
	row, err := s.seal(path, value)
	if err != nil {
		return nil, failed("store", path, err)
	}
	for range contention {
		inserted, err := s.pool.Exec(ctx, insert+"NOTHING", row...)
		if err != nil {
			return nil, failed("store", path, err)
		}
		if inserted.RowsAffected() == 1 {
			return value, nil
		}
		if found, err := s.Get(ctx, path); !errors.Is(err, credhub.ErrNotFound) {
			return found, err
		}
	}
	return nil, failed("store", path, errors.New("others write and delete it all the time: try again"))
}

// Put implements credhub.Store.
func (s *Store) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	row, err := s.seal(path, value)
	if err == nil {
		err = s.write(ctx, replace, row...)
	}
	return failed("store", path, err)
}

// Change implements credhub.Store. Its transaction waits for the disk, unlike that of
// Put, because no later commit does so for it.
func (s *Store) Change(ctx context.Context, path credhub.Path, change func(json.RawMessage) (json.RawMessage, error)) error {
	for done := false; !done; { // again if another transaction stored the first value
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
			done, err = s.changeOnce(ctx, tx, path, change)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) changeOnce(ctx context.Context, tx pgx.Tx, path credhub.Path, change func(json.RawMessage) (json.RawMessage, error)) (bool, error) {
	if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
		return false, failed("store", path, err)
	}
	stored, err := s.read(ctx, tx, path, " FOR UPDATE")
	statement := replace
	if errors.Is(err, credhub.ErrNotFound) {
		statement = insert + "NOTHING"
	} else if err != nil {
		return false, err
	}
	value, err := change(stored)
	if err != nil {
		return false, err
	}
	row, err := s.seal(path, value)
	if err != nil {
		return false, failed("store", path, err)
	}
	changed, err := tx.Exec(ctx, statement, row...)
	return changed.RowsAffected() == 1, failed("store", path, err)
}

// Get implements credhub.Store. If a secret cannot be opened, its error is not
// ErrNotFound.
func (s *Store) Get(ctx context.Context, path credhub.Path) (json.RawMessage, error) {
	return s.read(ctx, s.pool, path, "")
}

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func (s *Store) read(ctx context.Context, db querier, path credhub.Path, lock string) (json.RawMessage, error) {
	var e envelope
	err := db.QueryRow(ctx, "SELECT key_id, wrapped_key, sealed FROM sealed_secrets WHERE path = $1"+lock, path.String()).
		Scan(&e.keyID, &e.wrapped, &e.sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		err = credhub.ErrNotFound
	}
	if err != nil {
		return nil, failed("read", path, err)
	}
	value, err := s.keys.open(path.String(), e)
	return value, failed("open", path, err)
}

// Delete implements credhub.Store.
func (s *Store) Delete(ctx context.Context, path credhub.Path) error {
	return failed("delete", path, s.write(ctx, "DELETE FROM sealed_secrets WHERE path = $1", path.String()))
}

// write commits without waiting for the disk. The end of the operation that the write is
// part of is committed to the same server later and waits: the server's log is in order,
// so the write is then on disk too. If the server crashes before, the operation is not
// complete and writes again. Ensure waits, because its value takes effect elsewhere.
func (s *Store) write(ctx context.Context, statement string, arguments ...any) error {
	batch := &pgx.Batch{} // one round trip, one transaction
	batch.Queue("SELECT set_config('synchronous_commit', 'off', true)")
	batch.Queue(statement, arguments...)
	return s.pool.SendBatch(ctx, batch).Close()
}

// seal checks and seals a value. It returns the arguments of insert and replace.
func (s *Store) seal(path credhub.Path, value json.RawMessage) ([]any, error) {
	if err := credhub.CheckValue(value); err != nil {
		return nil, err
	}
	e, err := s.keys.seal(path.String(), value)
	return []any{path.String(), e.keyID, e.wrapped, e.sealed}, err
}

func failed(verb string, path credhub.Path, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sealed credentials: %s %s: %w", verb, path, err)
}
