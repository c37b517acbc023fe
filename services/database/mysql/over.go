package mysql

import (
	"context"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

// An instance that uses more than its plan's storage is locked: the accounts
// that may write keep the rights to read, delete, truncate and drop. The mark
// in full_databases comes first and goes last, so that a binding made meanwhile
// is held to it, and that what a crash cut short is gone on with.

// enforce locks or unlocks the instance where its size asks for that.
func (s *session) enforce(ctx context.Context, st *state, used services.Size, p Plan) error {
	switch {
	case st.full && usage.MayResume(used, p.Storage):
		return explain("let a database be written to again", s.unlock(ctx, st))
	case st.full || usage.Exceeds(used, p.Storage):
		return explain("make a full database read-only", s.lock(ctx, st))
	}
	return nil
}

// settled says whether a marked instance is locked to the end.
func (st *state) settled() bool {
	return st.ended && len(st.named(func(a account) bool { return a.rights == fullRights })) == 0
}

// lock takes the right to write from the accounts, and from those of former
// bindings, whose procedures go on. Reading goes on.
func (s *session) lock(ctx context.Context, st *state) error {
	if st.settled() {
		return nil
	}
	n := literal(st.database)
	err := s.exec(ctx, append([]string{"INSERT IGNORE INTO full_databases (name) VALUES (" + n + ")"}, st.setRights(overRights)...)...)
	if err != nil {
		return err
	}
	// A session keeps the rights it had when it chose its database.
	if err := s.endWriters(ctx, st); err != nil {
		return err
	}
	return s.exec(ctx, "UPDATE full_databases SET sessions_ended = TRUE WHERE name = "+n)
}

// unlock gives the right to write back.
func (s *session) unlock(ctx context.Context, st *state) error {
	if rights := st.setRights(fullRights); len(rights) > 0 {
		if err := s.exec(ctx, rights...); err != nil {
			return err
		}
	}
	if err := s.endWriters(ctx, st); err != nil {
		return err
	}
	return s.exec(ctx, "DELETE FROM full_databases WHERE name = "+literal(st.database))
}

func (st *state) setRights(level rights) []string {
	var statements []string
	for _, name := range st.named(account.writes) {
		statements = append(statements, call("set_rights", name, st.database, string(level)))
	}
	return statements
}

func (s *session) endWriters(ctx context.Context, st *state) error {
	left, err := s.endSessions(ctx, "end_sessions", st.named(func(a account) bool { return a.writes() && a.live() }))
	if err == nil && left > 0 {
		return sessionsLeft()
	}
	return err
}
