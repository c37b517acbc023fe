package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Provision implements services.Backend. With a spare at hand it takes two
// round trips: one asks, one renames the spare and hands it over.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	if err := b.CheckInstance(r.Instance); err != nil {
		return services.ProvisionResult{}, err
	}
	n := b.names.instance(r.Instance.Name)
	s, st, err := b.begin(ctx, exclusive, n, "", versionPart, databasePart, groupsPart, templatePart, sparesPart)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	defer s.release(ctx)
	if d := st.Database; d != nil && d.Limit == interrupted {
		if err = s.exec(ctx, "DROP DATABASE IF EXISTS "+ident(n.database)); err != nil {
			return services.ProvisionResult{}, explain("remove what an interrupted removal left", err)
		}
		st.Database = nil
	}
	return services.ProvisionResult{}, b.make(ctx, s, st, r.Instance)
}

// make turns whatever exists into the finished instance and gives the lock
// back.
func (b *backend) make(ctx context.Context, s *session, st *state, inst instance) error {
	commit := s.last
	if len(inst.Params.Extensions) > 0 {
		commit = s.transaction
	}
	claimed, err := b.claim(ctx, commit, st, inst)
	if err != nil {
		return err
	}
	if !claimed {
		if st.Database == nil {
			err = b.create(ctx, s, st, inst.Params)
		}
		if err == nil {
			err = limitError("hand the database over", commit(ctx, handOver(st, inst.Plan)...))
		}
		if err != nil {
			return err
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

// claim makes a spare the instance's database, unless the database exists or
// has to be unlike a spare. Losing the race for one spare tries the next.
func (b *backend) claim(ctx context.Context, commit func(context.Context, ...string) error, st *state, inst instance) (bool, error) {
	if locale, err := st.locale(inst.Params); st.Database != nil || locale != "" || err != nil {
		return false, err
	}
	for _, spare := range st.Spares {
		rename := "ALTER DATABASE " + ident(spare) + " RENAME TO " + ident(st.names.database)
		err := commit(ctx, append([]string{rename}, handOver(st, inst.Plan)...)...)
		if is(err, noSuchDatabase, objectInUse) {
			continue
		}
		return err == nil, limitError("claim a spare database", err)
	}
	return false, nil
}

// create makes the database, owned by the administrator and closed to
// everybody: what a crash leaves here is nobody's, and handOver finishes it.
func (b *backend) create(ctx context.Context, s *session, st *state, p InstanceParams) error {
	locale, err := st.locale(p)
	if err != nil {
		return err
	}
	err = s.exec(ctx, createDatabase(st.names.database)+locale)
	if is(err, wrongObjectType, invalidParameter, undefinedObject) {
		return b.localeRejected(ctx, s, st, p, err)
	}
	return explain("create the database", err)
}

func createDatabase(name string) string {
	return "CREATE DATABASE " + ident(name) + " TEMPLATE template0 ALLOW_CONNECTIONS false"
}

// handOver returns the statements that make a database of the administrator's
// the instance's: owned by its owner role, closed to PUBLIC, limited, open. The
// administrator belongs to tenants' roles only while it needs them: memberships
// that stayed would make every check of its rights dearer with each instance.
func handOver(st *state, p Plan) []string {
	var statements []string
	if !st.has(st.names.owner) {
		statements = append(statements, "CREATE ROLE "+ident(st.names.owner)+" NOLOGIN")
	}
	db := ident(st.names.database)
	statements = append(statements,
		join(st.names.owner),
		"ALTER DATABASE "+db+" OWNER TO "+ident(st.names.owner),
		"REVOKE ALL ON DATABASE "+db+" FROM PUBLIC",
		"ALTER DATABASE "+db+" WITH ALLOW_CONNECTIONS true IS_TEMPLATE false CONNECTION LIMIT "+fmt.Sprint(p.Connections))
	statements = append(statements, settings(st, p)...)
	return append(statements, leave(st.names.owner))
}

// settings returns the statements for the plan's settings of the database.
func settings(st *state, p Plan) []string {
	return append(set(st, "statement_timeout", time.Duration(p.StatementTimeout).Milliseconds()), tempLimit(st, p)...)
}

// set returns the statement that gives the database a setting; 0 resets it.
func set(st *state, name string, value int64) []string {
	alter := "ALTER DATABASE " + ident(st.names.database)
	switch {
	case value != 0:
		return []string{alter + " SET " + name + " = " + fmt.Sprint(value)}
	case st.Database.sets(name):
		return []string{alter + " RESET " + name}
	}
	return nil
}

const (
	tempFileLimit = "temp_file_limit"
	// settableTempFiles is the version from which on the administrator can be
	// allowed to set it; on an older server, endSpillers measures.
	settableTempFiles = 150000
)

func tempLimit(st *state, p Plan) []string {
	if st.Version < settableTempFiles {
		return nil
	}
	return set(st, tempFileLimit, int64(p.TempFileLimit/services.Kilobyte))
}

// hasTempLimit says whether a database's settings hold the plan's limit of
// temporary files, where it can be set.
func hasTempLimit(version int, settings []string, p Plan) bool {
	if version < settableTempFiles {
		return true
	}
	current := ""
	for _, s := range settings {
		if value, found := strings.CutPrefix(s, tempFileLimit+"="); found {
			current = value
		}
	}
	if p.TempFileLimit == 0 {
		return current == ""
	}
	return current == fmt.Sprint(int64(p.TempFileLimit/services.Kilobyte))
}

// join and leave make the administrator a member of roles and undo it.
func join(roles ...string) string { return "GRANT " + idents(roles) + " TO CURRENT_USER" }

func leave(roles ...string) string { return "REVOKE " + idents(roles) + " FROM CURRENT_USER" }

// limitError is explain, and says what to do where the administrator may not set
// temp_file_limit, the one setting that is not its own to set.
func limitError(doing string, err error) error {
	if !is(err, insufficientPrivilege) || !strings.Contains(err.Error(), tempFileLimit) {
		return explain(doing, err)
	}
	return fmt.Errorf("%s: the administrator may not set temp_file_limit; run administrator.sql again as a superuser, or leave it out of the plan: %w", doing, err)
}
