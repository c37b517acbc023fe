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
	// files are its tables' files, which never become smaller by DELETE.
	files services.Size
	// free is what of them is free for the same table to use again.
	free services.Size
	// texts are those of its procedures and functions, which the server keeps
	// elsewhere, and of its views and triggers.
	texts services.Size
	// unseen says that there was no time to look closely.
	unseen bool
}

// used is what counts against the plan's storage: what is in use, so that
// deleting helps, but half of the files at least, so that nobody gets disk
// without end by filling and emptying one table after the other.
func (u footprint) used() services.Size { return max(u.files-u.free, u.files/2) + u.texts }

// measure returns how large databases are. The files and the routines of all are
// one query. Those that closely names are looked into as well: the server has to
// open all their tables for that. When that has taken too long in all, the rest is
// left for another time.
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

// lookInside adds what only shows inside of a database. Where looking takes too
// long, nothing of its files counts as free.
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
