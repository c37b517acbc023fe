package postgres

import (
	"context"
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// keepSpares makes as many spare databases as all plans together ask for, and removes
// the rest. It first finishes spares without an access list, which were interrupted
// between their two statements.
func (b *backend) keepSpares(ctx context.Context, plans []Plan) error {
	wanted := 0
	for _, p := range plans {
		wanted += p.Spares
	}
	ready, unfinished, err := b.spares(ctx)
	if err != nil {
		return explain("look for spare databases", err)
	}
	for _, name := range unfinished {
		if err := b.closeSpare(ctx, name); err != nil {
			return err
		}
	}
	ready = append(ready, unfinished...)
	for _, name := range ready[min(wanted, len(ready)):] {
		if err := b.execute(ctx, "DROP DATABASE IF EXISTS "+ident(name)); err != nil {
			return explain("remove a spare database too many", err)
		}
	}
	for range wanted - len(ready) {
		if err := b.makeSpare(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *backend) makeSpare(ctx context.Context) error {
	name := b.names.spare()
	if err := b.execute(ctx, createDatabase(name)); err != nil {
		return explain("make a spare database", err)
	}
	return b.closeSpare(ctx, name)
}

func (b *backend) closeSpare(ctx context.Context, name string) error {
	err := b.execute(ctx, "REVOKE ALL ON DATABASE "+ident(name)+" FROM PUBLIC")
	if is(err, pqerror.InvalidCatalogName) {
		return nil // an instance has taken it
	}
	return explain("close a spare database", err)
}

func (b *backend) execute(ctx context.Context, statement string) error {
	_, err := b.pool.ExecContext(ctx, statement)
	return err
}

// spares returns the spare databases, finished and unfinished, and removes those whose
// removal was interrupted.
func (b *backend) spares(ctx context.Context) (ready, unfinished []string, err error) {
	var answer struct{ ready, unfinished, broken pq.StringArray }
	list := func(which string) string {
		return `pg_catalog.array_agg(datname) FILTER (WHERE ` + which + `)`
	}
	err = b.pool.QueryRowContext(ctx, `SELECT `+list("datacl IS NOT NULL AND datconnlimit <> -2")+`, `+
		list("datacl IS NULL AND datconnlimit <> -2")+`, `+list("datconnlimit = -2")+`
		FROM pg_catalog.pg_database WHERE datname ~ `+literal("^"+b.names.prefix+"spare_[a-z2-7]+$")).
		Scan(&answer.ready, &answer.unfinished, &answer.broken)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range answer.broken {
		if err := b.execute(ctx, "DROP DATABASE IF EXISTS "+ident(name)); err != nil {
			return nil, nil, fmt.Errorf("remove %s, whose removal was interrupted: %w", name, err)
		}
	}
	return answer.ready, answer.unfinished, nil
}
