package mysql

import (
	"context"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

// An instance that uses more than its plan's storage is locked: the accounts that may write
// keep the rights to read, delete, truncate and drop. The mark in full_databases is set
// first and removed last, so that it applies to bindings that are made meanwhile, and that
// an interrupted change continues.

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

// locked says whether a marked instance is completely locked.
func (st *state) locked() bool {
	return st.ended && len(st.named(func(a account) bool { return a.rights == fullRights })) == 0
}

// lock revokes the right to write from the accounts, also from those of removed bindings,
// whose procedures remain.
func (s *session) lock(ctx context.Context, st *state) error {
	if st.locked() {
		return nil
	}
	n := literal(st.database)
	err := s.exec(ctx, append([]string{"INSERT IGNORE INTO full_databases (name) VALUES (" + n + ")"}, st.setRights(overRights)...)...)
	if err != nil {
		return err
	}
	// A session keeps the rights that it had when it chose its database.
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
