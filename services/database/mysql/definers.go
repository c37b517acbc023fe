package mysql

import (
	"context"
	"database/sql"
	"slices"
)

// A view, a routine or a trigger works with the rights of who defined it, and
// no longer where that account is gone. So the account of a removed binding
// stays as long as something is defined by it: locked, without a password, with
// the rights of the instance's other accounts.

// dropUnused drops the account of the binding that goes, and those of bindings
// that went before, unless they still are definers.
func (s *session) dropUnused(ctx context.Context, st *state, going string) error {
	candidates := append(st.named(func(a account) bool { return a.locked && a.name != going }), going)
	var definers []string
	err := s.ask(ctx, answer{call("definers", st.database), func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		definers = append(definers, name)
		return err
	}})
	if err != nil {
		return explain("look for what the binding's account defined", err)
	}
	var drops []string
	for _, name := range candidates {
		if !slices.Contains(definers, name) {
			drops = append(drops, call("drop_account", name))
		}
	}
	if len(drops) == 0 {
		return nil
	}
	return explain("drop the binding's account", s.exec(ctx, drops...))
}
