package sealed

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Ready implements credhub.Store. It fails where the database does not answer,
// and where a secret is sealed under a key that is not there, which it names.
func (s *Store) Ready(ctx context.Context) error {
	used, err := s.usedKeys(ctx)
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

// usedKeys returns the identifiers of the keys that something is sealed under.
// It looks for the next one after each, which takes as many steps as there are
// keys, not secrets.
func (s *Store) usedKeys(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		WITH RECURSIVE used AS (
			SELECT min(key_id) AS key_id FROM sealed_secrets
			UNION ALL
			SELECT (SELECT min(key_id) FROM sealed_secrets WHERE key_id > used.key_id) FROM used WHERE used.key_id IS NOT NULL
		)
		SELECT key_id FROM used WHERE key_id IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
