package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
)

// Provision implements services.Backend. With a spare at hand it takes two
// round trips: one asks, one renames the spare and hands it over.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	if err := b.CheckInstance(r.Instance); err != nil {
		return services.ProvisionResult{}, err
	}
	n := b.names.instance(r.Instance.Name)
	parts := []string{versionPart, databasePart, groupsPart, templatePart, sparesPart}
	return services.ProvisionResult{}, b.work(ctx, exclusive, n, "", parts, func(s *session, st *state) error {
		if d := st.Database; d != nil && d.Limit == interrupted {
			if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+ident(n.database)); err != nil {
				return explain("remove what an interrupted removal left", err)
			}
			st.Database = nil
		}
		return b.make(ctx, s, st, r.Instance)
	})
}

// make turns whatever exists into the finished instance and releases the lock.
func (b *backend) make(ctx context.Context, s *session, st *state, inst instance) error {
	commit := s.last
	if len(inst.Params.Extensions) > 0 {
		commit = s.transaction
	}
	claimed, err := b.claim(ctx, commit, st, inst)
	if err != nil {
		return err
	}
	if !claimed && st.Database == nil {
		if err := b.create(ctx, s, st, inst.Params); err != nil {
			return err
		}
	}
	if !claimed {
		if err := commit(ctx, handOver(st, inst.Plan)...); err != nil {
			return limitError("hand the database over", err)
		}
	}
	if len(inst.Params.Extensions) == 0 {
		return nil
	}
	if err := b.extend(ctx, s, st.names, nil, inst.Params.Extensions); err != nil {
		return err
	}
	return s.last(ctx)
}

// claim makes a spare the instance's database, unless the database exists or has to
// differ from a spare. If another operation took one spare, it tries the next.
func (b *backend) claim(ctx context.Context, commit func(context.Context, ...string) error, st *state, inst instance) (bool, error) {
	if locale, err := st.locale(inst.Params); st.Database != nil || locale != "" || err != nil {
		return false, err
	}
	for _, spare := range st.Spares {
		rename := "ALTER DATABASE " + ident(spare) + " RENAME TO " + ident(st.names.database)
		err := commit(ctx, append([]string{rename}, handOver(st, inst.Plan)...)...)
		if is(err, pqerror.InvalidCatalogName, pqerror.ObjectInUse) {
			continue
		}
		return err == nil, limitError("claim a spare database", err)
	}
	return false, nil
}

// create makes the database, owned by the administrator and closed to everybody. If a
// crash leaves it so, the next call hands it over.
func (b *backend) create(ctx context.Context, s *session, st *state, p InstanceParams) error {
	locale, err := st.locale(p)
	if err != nil {
		return err
	}
	err = s.exec(ctx, createDatabase(st.names.database)+locale)
	if is(err, pqerror.WrongObjectType, pqerror.InvalidParameterValue, pqerror.UndefinedObject) {
		return b.localeRejected(ctx, s, st, p, err)
	}
	return explain("create the database", err)
}

func createDatabase(name string) string {
	return "CREATE DATABASE " + ident(name) + " TEMPLATE template0 ALLOW_CONNECTIONS false"
}

// handOver returns the statements that make a database of the administrator's the
// instance's: owned by its owner role, closed to PUBLIC, limited, open.
func handOver(st *state, p Plan) []string {
	var statements []string
	if !st.has(st.names.owner) {
		statements = append(statements, "CREATE ROLE "+ident(st.names.owner)+" NOLOGIN")
	}
	return append(statements, st.asOwner(append([]string{
		st.alter() + " OWNER TO " + ident(st.names.owner),
		"REVOKE ALL ON DATABASE " + ident(st.names.database) + " FROM PUBLIC",
		st.alter() + " WITH ALLOW_CONNECTIONS true IS_TEMPLATE false CONNECTION LIMIT " + fmt.Sprint(p.Connections),
	}, settings(st, p)...)...)...)
}

// settings returns the statements for the plan's settings of the database.
func settings(st *state, p Plan) []string {
	return append(set(st, "statement_timeout", time.Duration(p.StatementTimeout).Milliseconds()), tempLimit(st, p)...)
}

// set returns the statement that gives the database a setting; 0 resets it.
func set(st *state, name string, value int64) []string {
	switch {
	case value != 0:
		return []string{st.alter() + " SET " + name + " = " + fmt.Sprint(value)}
	case st.Database.sets(name):
		return []string{st.alter() + " RESET " + name}
	}
	return nil
}

const (
	tempFileLimit = "temp_file_limit"
	// settableTempFiles is the first version that can allow the administrator to set
	// it; on an older server, endSpillers measures.
	settableTempFiles = 150000
)

func tempLimit(st *state, p Plan) []string {
	if st.Version < settableTempFiles {
		return nil
	}
	return set(st, tempFileLimit, int64(p.TempFileLimit/services.Kilobyte))
}

// hasTempLimit says whether a database's settings hold the plan's limit of temporary
// files, if the server allows it to be set.
func hasTempLimit(version int, settings []string, p Plan) bool {
	if version < settableTempFiles {
		return true
	}
	limit := ""
	if p.TempFileLimit != 0 {
		limit = fmt.Sprint(int64(p.TempFileLimit / services.Kilobyte))
	}
	current := slices.IndexFunc(settings, func(s string) bool { return strings.HasPrefix(s, tempFileLimit+"=") })
	if current < 0 {
		return limit == ""
	}
	return settings[current] == tempFileLimit+"="+limit
}

// as returns statements that run as a member of roles. The administrator is a member of
// tenants' roles only for that moment: memberships that stayed would make every check
// of its rights slower with each instance.
func as(roles []string, statements ...string) []string {
	list := idents(roles)
	return slices.Concat([]string{"GRANT " + list + " TO CURRENT_USER"}, statements, []string{"REVOKE " + list + " FROM CURRENT_USER"})
}

// asOwner returns statements that run as a member of the instance's owner role.
func (st *state) asOwner(statements ...string) []string {
	return as([]string{st.names.owner}, statements...)
}

// alter is the beginning of a statement that changes the instance's database.
func (st *state) alter() string { return "ALTER DATABASE " + ident(st.names.database) }

// limitError is explain, and says what to do if the administrator may not set
// temp_file_limit, which takes a right of its own.
func limitError(doing string, err error) error {
	if !is(err, pqerror.InsufficientPrivilege) || !strings.Contains(err.Error(), tempFileLimit) {
		return explain(doing, err)
	}
	return fmt.Errorf("%s: the administrator may not set temp_file_limit; run administrator.sql again as a superuser, or leave it out of the plan: %w", doing, err)
}
