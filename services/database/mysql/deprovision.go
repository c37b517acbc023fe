package mysql

import (
	"context"
	"fmt"
)

// Deprovision implements services.Backend. The accounts stay, closed, until the
// database is gone: they say whose it is.
func (b *backend) Deprovision(ctx context.Context, inst instance) error {
	n := b.names.database(inst.Name)
	s, st, err := b.begin(ctx, patience, n)
	if err != nil {
		return err
	}
	defer s.release(ctx)
	left, err := s.endSessions(ctx, "close_account", st.named(anybody))
	if err != nil {
		return explain("close the bindings' accounts", err)
	}
	if left > 0 {
		return sessionsLeft()
	}
	err = s.exec(ctx, "DROP DATABASE IF EXISTS "+ident(n))
	if is(err, lockWaitTimeout) {
		return fmt.Errorf("drop the database: something holds its tables, maybe a distributed transaction that its application prepared and left; XA RECOVER lists these, XA ROLLBACK ends one: %w", err)
	}
	if err != nil {
		return explain("drop the database", err)
	}
	statements := []string{"DELETE FROM full_databases WHERE name = " + literal(n)}
	for _, name := range st.named(anybody) {
		statements = append(statements, call("drop_account", name))
	}
	return explain("drop the bindings' accounts", s.exec(ctx, statements...))
}
