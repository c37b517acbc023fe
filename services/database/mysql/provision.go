package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/usage"
)

// Provision implements services.Backend. Before its first binding, nobody has rights on a database.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	n := b.names.database(r.Instance.Name)
	return services.ProvisionResult{}, b.locked(ctx, patience, n, func(s *session) error {
		return b.rejected(ctx, s, r.Instance.Params, s.Last(ctx, createDatabase(n, r.Instance.Params), unlock))
	})
}

func createDatabase(name string, p InstanceParams) string {
	return "CREATE DATABASE IF NOT EXISTS " + ident(name) + defaults(p)
}

// restore creates a database again that an application has dropped.
func (b *backend) restore(ctx context.Context, s *session, st *state, p InstanceParams) error {
	if st.exists {
		return nil
	}
	if len(st.accounts) == 0 { // it may never have existed
		return services.Rejected("the database of this instance no longer exists: an application or the operator dropped it; delete the instance and create a new one")
	}
	st.exists = true
	return b.rejected(ctx, s, p, s.Exec(ctx, createDatabase(st.database, p)))
}

// defaults are the options of CREATE DATABASE. The names passed Validate, and need no quotes.
func defaults(p InstanceParams) string {
	options := ""
	if set := p.Charset(); set != "" {
		options += " CHARACTER SET " + set
	}
	if p.Collate != "" {
		options += " COLLATE " + p.Collate
	}
	return options
}

// rejected makes an error of CREATE DATABASE that the user caused name what the server accepts.
func (b *backend) rejected(ctx context.Context, s *session, p InstanceParams, cause error) error {
	if mysqldb.Is(cause, unknownCharacters) {
		return services.Rejected("parameters.character_set: this server does not support it; choose another, or leave it out")
	}
	if !mysqldb.Is(cause, unknownCollation, collationMismatch) {
		return explain("create the database", cause)
	}
	set := p.Charset()
	if set == "" {
		return services.Rejected("parameters.collate: this server has no collation %q; give the character_set as well to see which there are", p.Collate)
	}
	var possible []string
	err := s.Query(ctx, "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE CHARACTER_SET_NAME = "+
		literal(set)+" ORDER BY 1", database.Into(&possible))
	if err != nil {
		return explain("ask for the server's collations", err)
	}
	return services.Rejected("parameters.collate: %q does not belong to character set %s; choose one of %s", p.Collate, p.CharacterSet, strings.Join(possible, ", "))
}

// Update implements services.Backend: it holds the instance to another plan.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	if err := b.CheckUpdate(r); err != nil {
		return services.UpdateResult{}, err
	}
	return services.UpdateResult{}, b.work(ctx, patience, b.names.database(r.Instance.Name), func(s *session, st *state) error {
		return b.change(ctx, s, st, r.Previous.Plan, r.Instance)
	})
}

func (b *backend) change(ctx context.Context, s *session, st *state, prev Plan, inst instance) error {
	if err := b.restore(ctx, s, st, inst.Params); err != nil {
		return err
	}
	used, err := s.used(ctx, st, inst.Plan)
	if err != nil {
		return err
	}
	if err := usage.CheckChange(used, prev.Storage, inst.Plan.Storage, st.full); err != nil {
		return err
	}
	if err := s.limit(ctx, st, prev, inst.Plan); err != nil {
		return err
	}
	return s.enforce(ctx, st, used, inst.Plan)
}

// used measures the one database.
func (s *session) used(ctx context.Context, st *state, p Plan) (services.Size, error) {
	sizes, err := measure(ctx, s, []string{st.database}, func(string, services.Size) bool { return p.Storage != 0 || st.full })
	return sizes[st.database].used(), err
}

// limit holds the bindings' accounts to the plan. Live sessions stay.
func (s *session) limit(ctx context.Context, st *state, prev, next Plan) error {
	names := st.named(account.live)
	if len(names) > next.Bindings && next.Bindings < prev.Bindings {
		return services.Rejected("the plan allows %d bindings and the instance has %d; remove some first, or choose a larger plan", next.Bindings, len(names))
	}
	var statements []string
	for _, name := range names {
		connections, seconds := next.perAccount()
		statements = append(statements, call("limit_account", name, connections, seconds))
	}
	if len(statements) == 0 {
		return nil
	}
	return explain("change the limits", s.Exec(ctx, statements...))
}

// Deprovision implements services.Backend. Closed accounts stay until the database is dropped.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	return services.DeprovisionResult{}, b.work(ctx, patience, b.names.database(r.Instance.Name), func(s *session, st *state) error {
		return s.remove(ctx, st)
	})
}

func (s *session) remove(ctx context.Context, st *state) error {
	accounts := st.named(anybody)
	if err := s.endSessions(ctx, "close_account", accounts); err != nil {
		return explain("close the bindings' accounts", err)
	}
	more, err := s.dropTables(ctx, st.database)
	if err == nil && !more {
		err = s.Exec(ctx, "DROP DATABASE IF EXISTS "+ident(st.database))
	}
	if mysqldb.Is(err, lockWaitTimeout) {
		return fmt.Errorf("drop the database: its tables are locked, maybe by a distributed transaction that an application prepared and left; XA RECOVER lists these, XA ROLLBACK ends one: %w", err)
	}
	if err != nil {
		return explain("drop the database", err)
	}
	if more {
		return services.NotYet(10*time.Millisecond, "the database's tables are being dropped")
	}
	statements := []string{"DELETE FROM full_databases WHERE name = " + literal(st.database)}
	for _, name := range accounts {
		statements = append(statements, call("drop_account", name))
	}
	return explain("drop the bindings' accounts", s.Exec(ctx, statements...))
}

// dropBatch is how many tables or views are dropped at a time. DROP DATABASE locks all of
// them before it drops the first, and has no effect if it is interrupted before that.
const dropBatch = 500

// dropTables drops a batch of tables and views if there are more, and says whether it did.
func (s *session) dropTables(ctx context.Context, name string) (bool, error) {
	tables := map[string][]string{}
	found := 0
	err := s.Query(ctx, fmt.Sprintf("SELECT TABLE_NAME, IF(TABLE_TYPE = 'VIEW', 'VIEW', 'TABLE') FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s LIMIT %d",
		literal(name), dropBatch), func(rows *sql.Rows) error {
		var table, kind string
		err := rows.Scan(&table, &kind)
		tables[kind] = append(tables[kind], ident(name)+"."+ident(table))
		found++
		return err
	})
	if err != nil || found < dropBatch {
		return false, err
	}
	var drops []string
	for kind, list := range tables {
		drops = append(drops, "DROP "+kind+" IF EXISTS "+strings.Join(list, ", "))
	}
	return true, s.Exec(ctx, drops...)
}
