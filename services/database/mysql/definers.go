package mysql

import (
	"context"
	"slices"

	"github.com/chandler-broker/chandler/services/database"
)

// A view, a routine or a trigger works with the rights of who defined it, and
// no longer where that account is gone. So the account of a removed binding
// stays as long as something is defined by it: locked, without a password, with
// the rights of the instance's other accounts.

// searchTime bounds the search for definers, in seconds.
const searchTime = "5"

// dropUnused drops the account of the binding that goes, and those of bindings
// that went before, unless they still are definers. They are closed already, so
// an unbind does not fail where a database has too much in it to search: the
// accounts go with the next unbind that finds less, or with the instance.
func (s *session) dropUnused(ctx context.Context, st *state, going string) error {
	candidates := append(st.named(func(a account) bool { return a.locked && a.name != going }), going)
	var definers []string
	err := database.Query(ctx, s.conn, within(searchTime, call("definers", st.database)), database.Into(&definers))
	if is(err, statementTimeout) {
		return nil
	}
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
