package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// Deprovision implements services.Backend. The accounts stay, closed, until the
// database is gone: they say whose it is.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	n := b.names.database(r.Instance.Name)
	s, st, err := b.begin(ctx, patience, n)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	defer s.release(ctx)
	left, err := s.endSessions(ctx, "close_account", st.named(anybody))
	if err != nil {
		return services.DeprovisionResult{}, explain("close the bindings' accounts", err)
	}
	if left > 0 {
		return services.DeprovisionResult{}, sessionsLeft()
	}
	more, err := s.dropTables(ctx, n)
	if err == nil && !more {
		err = s.exec(ctx, "DROP DATABASE IF EXISTS "+ident(n))
	}
	if is(err, lockWaitTimeout) {
		return services.DeprovisionResult{}, fmt.Errorf("drop the database: its tables are locked, maybe by a distributed transaction that an application prepared and left; XA RECOVER lists these, XA ROLLBACK ends one: %w", err)
	}
	if err != nil {
		return services.DeprovisionResult{}, explain("drop the database", err)
	}
	if more {
		return services.DeprovisionResult{}, services.NotYet(10*time.Millisecond, "the database's tables are being dropped")
	}
	statements := []string{"DELETE FROM full_databases WHERE name = " + literal(n)}
	for _, name := range st.named(anybody) {
		statements = append(statements, call("drop_account", name))
	}
	return services.DeprovisionResult{}, explain("drop the bindings' accounts", s.exec(ctx, statements...))
}

// dropBatch is how many tables or views are dropped at a time. DROP DATABASE locks all of
// them before it drops the first, and has no effect if it is interrupted before that.
const dropBatch = 500

// dropTables drops a batch of tables and views if there are more, and says whether it did.
func (s *session) dropTables(ctx context.Context, name string) (bool, error) {
	tables := map[string][]string{}
	found := 0
	err := database.Query(ctx, s.conn, fmt.Sprintf("SELECT TABLE_NAME, IF(TABLE_TYPE = 'VIEW', 'VIEW', 'TABLE') FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s LIMIT %d",
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
	return true, s.exec(ctx, drops...)
}
