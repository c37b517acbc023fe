package sealed

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// rewrapBatch is how many secrets a step of Rewrap handles.
const rewrapBatch = 200

// Rewrap brings every secret under the first key and returns how many it
// changed. The secrets themselves are not touched, only their keys' wrapping;
// the store serves meanwhile. It may be broken off and called again, and by
// several replicas at once. What it cannot unwrap it leaves as it is, and says
// so in the end.
func (s *Store) Rewrap(ctx context.Context) (int, error) {
	changed, last := 0, ""
	var faults []error
	for {
		rows, err := s.outdated(ctx, last)
		if err != nil {
			return changed, fmt.Errorf("sealed credentials: find those under older keys: %w", err)
		}
		if len(rows) == 0 {
			return changed, errors.Join(faults...)
		}
		last = rows[len(rows)-1].path
		n, fault, err := s.rewrap(ctx, rows)
		changed += n
		if err != nil {
			return changed, fmt.Errorf("sealed credentials: bring them under the first key: %w", err)
		}
		faults = addOnce(faults, fault)
	}
}

// row is a secret's wrapped key.
type row struct {
	path    string
	keyID   string
	wrapped []byte
}

// outdated returns the next rows after last that are not under the first key.
func (s *Store) outdated(ctx context.Context, last string) ([]row, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT path, key_id, wrapped_key FROM sealed_secrets
		WHERE key_id <> $1 AND path > $2 ORDER BY path LIMIT $3`, s.keys.all[0].id, last, rewrapBatch)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (row, error) {
		var found row
		return found, r.Scan(&found.path, &found.keyID, &found.wrapped)
	})
}

// rewrap changes the rows that are still as they were read: a Put meanwhile
// wins. faults are of rows that cannot be unwrapped.
func (s *Store) rewrap(ctx context.Context, rows []row) (changed int, faults []error, err error) {
	var batch pgx.Batch
	for _, r := range rows {
		key, err := s.keys.unwrap(r.path, envelope{keyID: r.keyID, wrapped: r.wrapped})
		if missing, ok := errors.AsType[*missingKeyError](err); ok {
			faults = append(faults, fmt.Errorf("sealed credentials: some of them cannot be brought under the first key: %w", missing))
			continue
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("sealed credentials: open %s: %w", r.path, err))
			continue
		}
		fresh := s.keys.wrap(r.path, key)
		batch.Queue(`UPDATE sealed_secrets SET key_id = $1, wrapped_key = $2 WHERE path = $3 AND key_id = $4 AND wrapped_key = $5`,
			fresh.keyID, fresh.wrapped, r.path, r.keyID, r.wrapped)
	}
	if batch.Len() == 0 {
		return 0, faults, nil
	}
	results := s.pool.SendBatch(ctx, &batch)
	for range batch.Len() {
		updated, err := results.Exec()
		if err != nil {
			return 0, faults, errors.Join(err, results.Close()) // a batch is one transaction
		}
		changed += int(updated.RowsAffected())
	}
	return changed, faults, results.Close()
}

// addOnce keeps one error for each text: thousands of rows may lack one key.
func addOnce(all, more []error) []error {
	for _, err := range more {
		if !slices.ContainsFunc(all, func(known error) bool { return known.Error() == err.Error() }) {
			all = append(all, err)
		}
	}
	return all
}
