package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// usage is what a database takes.
type usage struct {
	// files are its tables' files, which never become smaller by DELETE.
	files services.Size
	// free is what of them is free for the same table to use again. It is
	// asked for where the files alone would be too large.
	free services.Size
	// routines are the texts of its procedures and functions, which the server
	// keeps elsewhere.
	routines services.Size
}

// used is what counts against the plan's storage: what is in use, so that
// deleting helps, but half of the files at least, so that nobody gets disk
// without end by filling and emptying one table after the other.
func (u usage) used() services.Size { return max(u.files-u.free, u.files/2) + u.routines }

// measure returns how large databases are. Those with as much in their files as
// worry says are looked at closely: the server has to open all their tables.
func measure(ctx context.Context, q querier, databases []string, worry func(database string, files services.Size) bool) (map[string]usage, error) {
	sizes := map[string]usage{}
	err := ask(ctx, q, answer{call("sizes"), func(rows *sql.Rows) error {
		var database string
		var files, routines services.Size
		if err := rows.Scan(&database, &files, &routines); err != nil {
			return err
		}
		u := sizes[database]
		u.files += files
		u.routines += routines
		sizes[database] = u
		return nil
	}})
	if err != nil {
		return nil, explain("ask how large the databases are", err)
	}
	var close []string
	for _, database := range databases {
		if worry(database, sizes[database].files) {
			close = append(close, database)
		}
	}
	return sizes, explain("ask what is free in the databases", lookClosely(ctx, q, close, sizes))
}

// lookClosely notes what is free in the databases' files. One database a query
// lets the server look into that one only.
func lookClosely(ctx context.Context, q querier, databases []string, sizes map[string]usage) error {
	for batch := range slices.Chunk(databases, 20) {
		queries := make([]string, len(batch))
		for i, database := range batch {
			queries[i] = "SELECT " + literal(database) + ", COALESCE(CAST(SUM(DATA_FREE) AS SIGNED), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = " + literal(database)
		}
		err := ask(ctx, q, answer{strings.Join(queries, " UNION ALL "), func(rows *sql.Rows) error {
			var database string
			var free services.Size
			if err := rows.Scan(&database, &free); err != nil {
				return err
			}
			u := sizes[database]
			u.free = free
			sizes[database] = u
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}
