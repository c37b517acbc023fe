package mysql

import (
	"context"
	"database/sql"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// footprint is what a database takes.
type footprint struct {
	// files are its tables' files, which DELETE never shrinks.
	files services.Size
	// free is how much of them their tables can use again.
	free services.Size
	// texts are those of its procedures and functions, which the server stores elsewhere,
	// and of its views and triggers.
	texts services.Size
	// unseen says that there was no time to look closely.
	unseen bool
}

// used is what counts against the plan's storage: what is in use, so that deleting helps,
// but at least half of the files, so that filling and emptying one table after the other
// does not give unlimited disk space.
func (u footprint) used() services.Size { return max(u.files-u.free, u.files/2) + u.texts }

// measure returns how large databases are. One query reads the files and routines of all. It
// then looks into those that closely selects, for which the server has to open all their
// tables, and leaves the rest for another time if that takes too long.
func measure(ctx context.Context, q database.Querier, databases []string, closely func(name string, files services.Size) bool) (map[string]footprint, error) {
	sizes := map[string]footprint{}
	err := database.Query(ctx, q, call("sizes"), func(rows *sql.Rows) error {
		var name string
		var files, routines services.Size
		if err := rows.Scan(&name, &files, &routines); err != nil {
			return err
		}
		u := sizes[name]
		u.files += files
		u.texts += routines
		sizes[name] = u
		return nil
	})
	if err != nil {
		return nil, explain("ask how large the databases are", err)
	}
	end := time.Now().Add(lookBudget)
	for _, name := range databases {
		if !closely(name, sizes[name].files) {
			continue
		}
		if u := sizes[name]; time.Now().After(end) {
			u.unseen = true
			sizes[name] = u
			continue
		}
		u, err := lookInside(ctx, q, name, sizes[name])
		if err != nil {
			return nil, explain("look into database "+name, err)
		}
		sizes[name] = u
	}
	return sizes, nil
}

// lookTime bounds the inspection of one database, in seconds, and lookBudget that of
// all: a tenant with very many tables must not delay the others.
const (
	lookTime   = "5"
	lookBudget = 15 * time.Second
)

// lookInside adds what only shows inside a database. If that takes too long, none of its
// files counts as free.
func lookInside(ctx context.Context, q database.Querier, name string, u footprint) (footprint, error) {
	err := database.Query(ctx, q, within(lookTime, call("inside", name)), func(rows *sql.Rows) error {
		var texts services.Size
		err := rows.Scan(&u.free, &texts)
		u.texts += texts
		return err
	})
	if is(err, statementTimeout) {
		return u, nil
	}
	return u, err
}
