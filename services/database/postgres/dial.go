package postgres

import (
	"context"
	"errors"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// dial opens a session as an application does: with lib/pq and the uri.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	uri, _ := credentials["uri"].(string)
	connector, err := pq.NewConnector(uri)
	if err != nil {
		return nil, errors.New("the credentials' uri is not one that lib/pq understands") // err would quote it
	}
	s, err := database.Dial(ctx, connector, database.Probe{
		Create: `CREATE TABLE IF NOT EXISTS chandler_probe (key text PRIMARY KEY, value text NOT NULL)`,
		Upsert: `INSERT INTO chandler_probe (key, value) VALUES ($1, $2)
			ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value`,
		Select:  `SELECT value FROM chandler_probe WHERE key = $1`,
		Missing: func(err error) bool { return is(err, pqerror.UndefinedTable) },
		Exists:  func(err error) bool { return is(err, pqerror.UniqueViolation, pqerror.DuplicateTable) },
	})
	if err != nil {
		return nil, err
	}
	return &client{s}, nil
}

// client is an application's session.
type client struct{ *database.Session }
