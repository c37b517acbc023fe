package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// Provision implements services.Backend. With a spare it takes two round trips.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	if err := b.CheckInstance(r.Instance); err != nil {
		return services.ProvisionResult{}, err
	}
	parts := []string{versionPart, databasePart, groupsPart, templatePart, sparesPart}
	return services.ProvisionResult{}, b.work(ctx, exclusive, b.names.instance(r.Instance.Name), "", parts, func(ctx context.Context, s *session, st *state) error {
		if d := st.Database; d != nil && d.Limit == interrupted {
			if err := s.Exec(ctx, dropDatabase(st.names.database)); err != nil {
				return explain("remove what an interrupted removal left", err)
			}
			st.Database = nil
		}
		return b.complete(ctx, s, st, r.Instance)
	})
}

// complete turns whatever exists into the finished instance and releases the lock.
func (b *backend) complete(ctx context.Context, s *session, st *state, inst instance) error {
	commit := s.last
	if len(inst.Params.Extensions) > 0 {
		commit = s.transaction
	}
	claimed, err := b.claim(ctx, commit, st, inst)
	if err == nil && !claimed && st.Database == nil {
		err = b.create(ctx, s, st, inst.Params)
	}
	if err == nil && !claimed {
		err = explain("hand the database over", commit(ctx, handOver(st, inst.Plan)...))
	}
	if err != nil {
		return err
	}
	if len(inst.Params.Extensions) == 0 {
		return nil
	}
	if err := b.extend(ctx, s, st.names, nil, inst.Params.Extensions); err != nil {
		return err
	}
	return s.last(ctx)
}

// claim makes a spare the instance's database, unless the database exists or has to differ
// from a spare. If another operation has taken a spare, it tries the next.
func (b *backend) claim(ctx context.Context, commit func(context.Context, ...string) error, st *state, inst instance) (bool, error) {
	if st.Database != nil || st.locale(inst.Params) != "" {
		return false, nil
	}
	for _, spare := range st.Spares {
		rename := "ALTER DATABASE " + ident(spare) + " RENAME TO " + ident(st.names.database)
		err := commit(ctx, append([]string{rename}, handOver(st, inst.Plan)...)...)
		if is(err, pqerror.InvalidCatalogName, pqerror.ObjectInUse) {
			continue
		}
		return err == nil, explain("claim a spare database", err)
	}
	return false, nil
}

// create makes the database, owned by the administrator and closed to everybody.
func (b *backend) create(ctx context.Context, s *session, st *state, p InstanceParams) error {
	err := s.Exec(ctx, createDatabase(st.names.database)+st.locale(p))
	if is(err, pqerror.WrongObjectType, pqerror.InvalidParameterValue, pqerror.UndefinedObject) {
		return b.localeRejected(ctx, s, st, p, err)
	}
	return explain("create the database", err)
}

func createDatabase(name string) string {
	return "CREATE DATABASE " + ident(name) + " TEMPLATE template0 ALLOW_CONNECTIONS false"
}

func dropDatabase(name string) string { return "DROP DATABASE IF EXISTS " + ident(name) }

// handOver returns the statements that make a database of the administrator's the instance's.
func handOver(st *state, p Plan) []string {
	return append(st.createGroup(st.names.owner), st.asOwner(append([]string{
		st.alter() + " OWNER TO " + ident(st.names.owner),
		"REVOKE ALL ON DATABASE " + ident(st.names.database) + " FROM PUBLIC",
		st.alter() + " WITH ALLOW_CONNECTIONS true IS_TEMPLATE false CONNECTION LIMIT " + fmt.Sprint(p.Connections),
	}, settings(st, p)...)...)...)
}

const (
	tempFileLimit = "temp_file_limit"
	// settableTempFiles is the first version that can allow the administrator to set it.
	settableTempFiles = 150000
)

// settings returns the statements for the plan's settings of the database.
func settings(st *state, p Plan) []string {
	return append(set(st, "statement_timeout", time.Duration(p.StatementTimeout).Milliseconds()), setTempLimit(st, p)...)
}

func setTempLimit(st *state, p Plan) []string {
	if st.Version < settableTempFiles {
		return nil
	}
	return set(st, tempFileLimit, p.tempKilobytes())
}

// set returns the statement that gives the database a setting; 0 resets it.
func set(st *state, name string, value int64) []string {
	switch {
	case value != 0:
		return []string{st.alter() + " SET " + name + " = " + fmt.Sprint(value)}
	case st.Database.hasSetting(name):
		return []string{st.alter() + " RESET " + name}
	}
	return nil
}

// hasTempLimit says whether the database has the plan's limit, if that can be set.
func (st *state) hasTempLimit(p Plan) bool {
	if st.Version < settableTempFiles {
		return true
	}
	if p.TempFileLimit == 0 {
		return !st.Database.hasSetting(tempFileLimit)
	}
	return slices.Contains(st.Database.Settings, fmt.Sprintf("%s=%d", tempFileLimit, p.tempKilobytes()))
}

func (p Plan) tempKilobytes() int64 { return int64(p.TempFileLimit / services.Kilobyte) }

// asMember returns statements that run as a member of roles. Each membership that stayed
// would make every check of the administrator's rights slower.
func asMember(roles []string, statements ...string) []string {
	list := idents(roles)
	return slices.Concat([]string{"GRANT " + list + " TO CURRENT_USER"}, statements, []string{"REVOKE " + list + " FROM CURRENT_USER"})
}

// asOwner returns statements that run as a member of the instance's owner role.
func (st *state) asOwner(statements ...string) []string {
	return asMember([]string{st.names.owner}, statements...)
}

// alter is the beginning of a statement that changes the instance's database.
func (st *state) alter() string { return "ALTER DATABASE " + ident(st.names.database) }

// keepSpares makes as many spares as all plans together ask for, and removes the rest.
func (b *backend) keepSpares(ctx context.Context, plans []Plan) error {
	missing := 0
	for _, p := range plans {
		missing += p.Spares
	}
	type spare struct {
		name                string
		closed, interrupted bool // whether its creation was finished, and its removal interrupted
	}
	var spares []spare
	err := database.Query(ctx, b.pool, `SELECT datname, datacl IS NOT NULL, datconnlimit = -2 FROM pg_catalog.pg_database
		WHERE datname ~ `+literal(b.names.spares.String())+` ORDER BY 2 DESC`, func(rows *sql.Rows) error {
		var s spare
		err := rows.Scan(&s.name, &s.closed, &s.interrupted)
		spares = append(spares, s)
		return err
	})
	if err != nil {
		return explain("look for spare databases", err)
	}
	for _, s := range spares {
		switch {
		case s.interrupted || missing == 0:
			err = b.execute(ctx, dropDatabase(s.name))
		case !s.closed:
			missing--
			err = b.closeSpare(ctx, s.name)
		default:
			missing--
		}
		if err != nil {
			return explain("close or remove the spare database "+s.name, err)
		}
	}
	for range missing {
		name := b.names.spare(randomID())
		err := b.execute(ctx, createDatabase(name))
		if err == nil {
			err = b.closeSpare(ctx, name)
		}
		if err != nil {
			return explain("create a spare database", err)
		}
	}
	return nil
}

func (b *backend) closeSpare(ctx context.Context, name string) error {
	err := b.execute(ctx, "REVOKE ALL ON DATABASE "+ident(name)+" FROM PUBLIC")
	if is(err, pqerror.InvalidCatalogName) {
		return nil // an instance has taken it
	}
	return err
}

func (b *backend) execute(ctx context.Context, statement string) error {
	_, err := b.pool.ExecContext(ctx, statement)
	return err
}
