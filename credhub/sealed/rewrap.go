package sealed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// rewrapBatch is how many secrets a step of Rewrap handles.
const rewrapBatch = 200

// Rewrap brings every secret under the first key, and returns how many it changed. It
// replaces only the wrapping of their keys. The store serves meanwhile; several replicas
// may call Rewrap at once, and repeat it after a crash. It skips secrets that it cannot
// unwrap, and reports them at the end.
func (s *Store) Rewrap(ctx context.Context) (int, error) {
	changed, last := 0, ""
	faults := []error{s.Ready(ctx)} // names missing keys
	for {
		rows, err := s.outdated(ctx, last)
		if err != nil {
			return changed, fmt.Errorf("sealed credentials: find those under older keys: %w", err)
		}
		if len(rows) == 0 {
			return changed, errors.Join(faults...)
		}
		last = rows[len(rows)-1].Path
		n, damaged, err := s.rewrap(ctx, rows)
		changed += n
		if err != nil {
			return changed, fmt.Errorf("sealed credentials: bring them under the first key: %w", err)
		}
		faults = append(faults, damaged...)
	}
}

// row is a secret's wrapped key.
type row struct {
	Path, KeyID string
	Wrapped     []byte
}

// outdated returns the next rows after last that are under a key other than the first.
func (s *Store) outdated(ctx context.Context, last string) ([]row, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT path, key_id, wrapped_key FROM sealed_secrets
		WHERE key_id = ANY($1) AND path > $2 ORDER BY path LIMIT $3`, s.keys.IDs()[1:], last, rewrapBatch)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[row])
}

// rewrap changes the rows that nobody has changed since they were read. It returns an error
// for each row that it cannot unwrap.
func (s *Store) rewrap(ctx context.Context, rows []row) (changed int, damaged []error, err error) {
	var batch pgx.Batch
	for _, r := range rows {
		key, err := s.keys.unwrap(r.Path, envelope{keyID: r.KeyID, wrapped: r.Wrapped})
		if err != nil {
			damaged = append(damaged, fmt.Errorf("sealed credentials: open %s: %w", r.Path, err))
			continue
		}
		fresh := s.keys.wrap(r.Path, key)
		batch.Queue(`UPDATE sealed_secrets SET key_id = $1, wrapped_key = $2 WHERE path = $3 AND key_id = $4 AND wrapped_key = $5`,
			fresh.keyID, fresh.wrapped, r.Path, r.KeyID, r.Wrapped).
			Exec(func(updated pgconn.CommandTag) error {
				changed += int(updated.RowsAffected())
				return nil
			})
	}
	if batch.Len() == 0 {
		return 0, damaged, nil
	}
	if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return 0, damaged, err // a batch is one transaction
	}
	return changed, damaged, nil
}

// Ready implements credhub.Store. It fails if the database does not answer, or if secrets
// are sealed under a missing key, which it names.
func (s *Store) Ready(ctx context.Context) error {
	// Reading the next key after each takes one step per key, not one per secret.
	rows, err := s.pool.Query(ctx, `
		WITH RECURSIVE used AS (
			SELECT min(key_id) AS key_id FROM sealed_secrets
			UNION ALL
			SELECT (SELECT min(key_id) FROM sealed_secrets WHERE key_id > used.key_id) FROM used WHERE used.key_id IS NOT NULL
		)
		SELECT key_id FROM used WHERE key_id IS NOT NULL`)
	if err != nil {
		return fmt.Errorf("sealed credentials: %w", err)
	}
	used, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("sealed credentials: %w", err)
	}
	missing := slices.DeleteFunc(used, func(id string) bool { return s.keys.find(id) != nil })
	if len(missing) > 0 {
		return fmt.Errorf("sealed credentials: some are sealed under keys that are not among the sealing keys (%s): add the keys %s below the others",
			strings.Join(s.keys.IDs(), ", "), strings.Join(missing, ", "))
	}
	return nil
}
