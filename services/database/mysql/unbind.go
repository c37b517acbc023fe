package mysql

import (
	"context"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// Unbind implements services.Backend. It disables logins as the account, ends its sessions,
// and drops it.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	n, name := b.names.database(r.Instance.Name), b.names.account(r.Binding.Name)
	s, st, err := b.begin(ctx, patience, n)
	if err != nil {
		return services.UnbindResult{}, err
	}
	defer s.release(ctx)
	left, err := s.endSessions(ctx, "close_account", []string{name})
	if err != nil {
		return services.UnbindResult{}, explain("close the binding's account", err)
	}
	if left > 0 {
		return services.UnbindResult{}, sessionsLeft()
	}
	if r.Instance.Name == "" { // it has no rights, which would name its instance
		return services.UnbindResult{}, explain("drop the binding's account", s.exec(ctx, call("drop_account", name)))
	}
	return services.UnbindResult{}, s.dropUnused(ctx, st, name)
}

func sessionsLeft() error {
	return services.NotYet(200*time.Millisecond, "sessions are being ended")
}

// A view, routine or trigger runs with the rights of the account that defined it, and fails
// without that account. So the account of a removed binding stays as long as it defines
// something: locked, without a password, with the rights of the instance's other accounts.

// searchTime bounds the search for definers, in seconds.
const searchTime = "5"

// dropUnused drops the accounts of the binding that is being removed and of removed
// bindings, unless they define something. They are closed already, so that an unbind does
// not fail if the database is too large to search: a later unbind drops them, or the
// instance's deletion.
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
