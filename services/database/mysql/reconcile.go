package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/usage"
)

// Reconcile implements services.Reconciler: it holds databases to their plan's storage, and
// closes the accounts of copies that crashed.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	if len(r.Instances) == 0 {
		return result, nil
	}
	databases := make([]string, len(r.Instances))
	for i, inst := range r.Instances {
		databases[i] = b.names.database(inst.Name)
	}
	states, answers := b.stateOf(databases...)
	if err := database.Ask(ctx, b.pool, answers...); err != nil {
		return result, explain("look at the databases", err)
	}
	sizes, err := b.sizes(ctx, r.Instances, states)
	if err != nil {
		return result, err
	}
	for i, inst := range r.Instances {
		note, err := b.reconcileInstance(ctx, inst, states[databases[i]], sizes[databases[i]])
		result.Record(inst.ID, services.Condition{Reason: services.OverQuota, Message: note}, err)
	}
	return result, nil
}

// reconcileInstance enforces the plan on one database, and returns what its user should know.
func (b *backend) reconcileInstance(ctx context.Context, inst instance, st *state, size footprint) (note string, err error) {
	if len(st.named(func(a account) bool { return a.copies })) > 0 {
		if err := b.endLeftCopy(ctx, st.database); err != nil && !isPending(err) {
			return "", fmt.Errorf("database of instance %s: %w", inst.ID, err)
		}
	}
	if !st.full && (!st.exists || size.unseen) {
		return "", nil // being made or removed, or the next round's
	}
	quota := st.quota(size.used(), inst.Plan)
	note = quota.Note("delete, truncate or drop, or choose a larger plan")
	if size.unseen || quota.InSync(st.locked()) {
		return note, nil
	}
	if err := b.reconcileDatabase(ctx, inst); err != nil && !isPending(err) {
		return note, fmt.Errorf("database of instance %s: %w", inst.ID, err)
	}
	return note, nil
}

// isPending says that the next round continues.
func isPending(err error) bool {
	_, pending := errors.AsType[*services.NotYetError](err)
	return pending
}

// sizes measures the instances' databases. Each round looks into those whose files are suspect
// and another one, because files do not show the texts of views and triggers.
func (b *backend) sizes(ctx context.Context, instances []instance, states map[string]*state) (map[string]footprint, error) {
	first := int(b.rounds.Add(1)) % len(instances)
	databases, storage := make([]string, len(instances)), map[string]services.Size{}
	for i, inst := range instances {
		databases[i] = b.names.database(inst.Name)
		storage[databases[i]] = inst.Plan.Storage
	}
	next := databases[first]
	return measure(ctx, b.pool, append(databases[first:], databases[:first]...), func(name string, files services.Size) bool {
		return states[name].full || usage.Exceeds(files, storage[name]) || name == next && storage[name] != 0
	})
}

// reconcileDatabase enforces the plan on one instance, unless another session works on it.
func (b *backend) reconcileDatabase(ctx context.Context, inst instance) error {
	err := b.work(ctx, ifFree, b.names.database(inst.Name), func(s *session, st *state) error {
		if !st.exists && !st.full {
			return nil
		}
		used, err := s.used(ctx, st, inst.Plan)
		if err != nil {
			return err
		}
		return s.enforce(ctx, st, used, inst.Plan)
	})
	if errors.Is(err, errBusy) {
		return nil
	}
	return err
}

// An instance that uses more than its plan's storage is locked: the accounts that may write
// can only read, delete, truncate and drop. The mark in full_databases is set first and
// removed last, so that it applies to new bindings, and that an interrupted change continues.

func (st *state) quota(used services.Size, p Plan) database.Quota {
	return database.Quota{Used: used, Storage: p.Storage, Marked: st.full}
}

// enforce locks or unlocks the instance where its size asks for that.
func (s *session) enforce(ctx context.Context, st *state, used services.Size, p Plan) error {
	switch quota := st.quota(used, p); {
	case quota.Resumes():
		return explain("let a database be written to again", s.unlock(ctx, st))
	case quota.Exceeded():
		return explain("make a full database read-only", s.lock(ctx, st))
	}
	return nil
}

// locked says whether a marked instance is completely locked.
func (st *state) locked() bool {
	return st.ended && len(st.named(func(a account) bool { return !a.copies && a.rights == fullRights })) == 0
}

// lock revokes the right to write also from accounts of removed bindings, whose procedures remain.
func (s *session) lock(ctx context.Context, st *state) error {
	if st.locked() {
		return nil
	}
	n := literal(st.database)
	err := s.Exec(ctx, append([]string{"INSERT IGNORE INTO full_databases (name) VALUES (" + n + ")"}, st.setRights(overQuotaRights)...)...)
	if err != nil {
		return err
	}
	// A session keeps the rights that it had when it chose its database.
	if err := s.endWriters(ctx, st); err != nil {
		return err
	}
	return s.Exec(ctx, "UPDATE full_databases SET sessions_ended = TRUE WHERE name = "+n)
}

// unlock gives the right to write back.
func (s *session) unlock(ctx context.Context, st *state) error {
	if rights := st.setRights(fullRights); len(rights) > 0 {
		if err := s.Exec(ctx, rights...); err != nil {
			return err
		}
	}
	if err := s.endWriters(ctx, st); err != nil {
		return err
	}
	return s.Exec(ctx, "DELETE FROM full_databases WHERE name = "+literal(st.database))
}

func (st *state) setRights(level rights) []string {
	var statements []string
	for _, name := range st.named(account.writes) {
		statements = append(statements, call("set_rights", name, st.database, string(level)))
	}
	return statements
}

func (s *session) endWriters(ctx context.Context, st *state) error {
	return s.endSessions(ctx, "end_sessions", st.named(func(a account) bool { return a.writes() && a.live() }))
}

// footprint is what a database takes.
type footprint struct {
	files services.Size // of its tables, which DELETE never shrinks
	free  services.Size // how much of them their tables can use again
	texts services.Size // of its routines, which the server stores elsewhere, views and triggers
	// unseen says that there was no time to look closely.
	unseen bool
}

// used counts against the plan's storage: what is in use, but at least half of the files, so
// that filling and emptying one table after the other does not give unlimited disk space.
func (u footprint) used() services.Size { return max(u.files-u.free, u.files/2) + u.texts }

// measure returns how large databases are. It looks into those that closely selects, for which
// the server opens all their tables, and leaves the rest for the next time if it takes too long.
func measure(ctx context.Context, q database.Querier, databases []string, closely func(name string, files services.Size) bool) (map[string]footprint, error) {
	sizes := map[string]footprint{}
	err := database.Query(ctx, q, call("sizes"), func(rows *sql.Rows) error {
		var name string
		var files, routines services.Size
		if err := rows.Scan(&name, &files, &routines); err != nil {
			return err
		}
		u := sizes[name]
		sizes[name] = footprint{files: u.files + files, texts: u.texts + routines}
		return nil
	})
	if err != nil {
		return nil, explain("ask how large the databases are", err)
	}
	end := time.Now().Add(lookBudget)
	for _, name := range databases {
		if !closely(name, sizes[name].files) {
			continue
		}
		u := sizes[name]
		u.unseen = time.Now().After(end)
		if !u.unseen {
			if u, err = lookInside(ctx, q, name, u); err != nil {
				return nil, explain("look into database "+name, err)
			}
		}
		sizes[name] = u
	}
	return sizes, nil
}

// lookTime bounds the look into one database, in seconds, and lookBudget that into all: a
// tenant with very many tables must not delay the others.
const (
	lookTime   = "5"
	lookBudget = 15 * time.Second
)

// lookInside adds what only a look into a database shows: nothing if that takes too long.
func lookInside(ctx context.Context, q database.Querier, name string, u footprint) (footprint, error) {
	err := database.Query(ctx, q, within(lookTime, call("inside", name)), func(rows *sql.Rows) error {
		var texts services.Size
		err := rows.Scan(&u.free, &texts)
		u.texts += texts
		return err
	})
	if mysqldb.Is(err, statementTimeout) {
		return u, nil
	}
	return u, err
}
