package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/usage"
)

// Reconcile implements services.Reconciler: it holds databases to their plan's storage.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	if len(r.Instances) == 0 {
		return result, nil
	}
	known, err := b.look(ctx, r.Instances)
	if err != nil {
		return result, err
	}
	sizes, err := b.sizes(ctx, r.Instances, known)
	if err != nil {
		return result, err
	}
	for _, inst := range r.Instances {
		database := b.names.database(inst.Name)
		note, err := b.hold(ctx, inst, known[database], sizes[database])
		result.Record(inst.ID, services.Condition{Reason: services.OverQuota, Message: note}, err)
	}
	return result, nil
}

// hold enforces the plan on one database, and returns what its user should know.
func (b *backend) hold(ctx context.Context, inst instance, st *state, size footprint) (note string, err error) {
	used := size.used()
	if !st.full && (!st.exists || size.unseen) {
		return "", nil // being made or removed, or the next round's
	}
	note = st.note(used, inst.Plan)
	if size.unseen || st.inSync(used, inst.Plan) {
		return note, nil
	}
	err = b.reconcileDatabase(ctx, inst)
	if _, goesOn := errors.AsType[*services.NotYetError](err); err != nil && !goesOn {
		return note, fmt.Errorf("database of instance %s: %w", inst.ID, err)
	}
	return note, nil
}

// inSync says whether the database is as its plan demands.
func (st *state) inSync(used services.Size, p Plan) bool {
	if st.full {
		return !usage.MayResume(used, p.Storage) && st.locked()
	}
	return !usage.Exceeds(used, p.Storage)
}

// note tells the instance's user that writes are refused; empty if they are not.
func (st *state) note(used services.Size, p Plan) string {
	if !usage.Exceeds(used, p.Storage) && (!st.full || usage.MayResume(used, p.Storage)) {
		return ""
	}
	return usage.WritesRefused(used, p.Storage) + ": delete, truncate or drop, or choose a larger plan"
}

// look reads what exists of the instances, in one round trip.
func (b *backend) look(ctx context.Context, instances []instance) (map[string]*state, error) {
	known, databases, patterns := map[string]*state{}, make([]string, len(instances)), make([]string, len(instances))
	for i, inst := range instances {
		databases[i] = b.names.database(inst.Name)
		patterns[i] = pattern(databases[i])
		known[databases[i]] = &state{database: databases[i]}
	}
	var name string
	err := database.Ask(ctx, b.pool,
		database.Answer{Query: "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN (" + literals(databases) + ")", Scan: func(rows *sql.Rows) error {
			err := rows.Scan(&name)
			known[name].exists = true
			return err
		}},
		database.Answer{Query: "SELECT name, locked, rights, database_name FROM accounts WHERE pattern IN (" + literals(patterns) + ")", Scan: func(rows *sql.Rows) error {
			var a account
			err := rows.Scan(&a.name, &a.locked, &a.rights, &name)
			known[name].accounts = append(known[name].accounts, a)
			return err
		}},
		database.Answer{Query: "SELECT name, sessions_ended FROM full_databases WHERE name IN (" + literals(databases) + ")", Scan: func(rows *sql.Rows) error {
			var ended bool
			err := rows.Scan(&name, &ended)
			known[name].full, known[name].ended = true, ended
			return err
		}})
	return known, explain("look at the databases", err)
}

// sizes measures the instances' databases. Each round looks closely into those whose files
// are suspect and one more, because files do not show the texts of views and triggers. It
// begins with another instance each time, so that it reaches each one.
func (b *backend) sizes(ctx context.Context, instances []instance, known map[string]*state) (map[string]footprint, error) {
	first := int(b.rounds.Add(1)) % len(instances)
	databases, storage := make([]string, len(instances)), map[string]services.Size{}
	for i, inst := range instances {
		databases[i] = b.names.database(inst.Name)
		storage[databases[i]] = inst.Plan.Storage
	}
	next := databases[first]
	return measure(ctx, b.pool, append(databases[first:], databases[:first]...), func(name string, files services.Size) bool {
		return known[name].full || usage.Exceeds(files, storage[name]) || name == next && storage[name] != 0
	})
}

// reconcileDatabase enforces the plan on one instance, unless another session works on it:
// then the next round does.
func (b *backend) reconcileDatabase(ctx context.Context, inst instance) error {
	s, st, err := b.begin(ctx, attempt, b.names.database(inst.Name))
	if errors.Is(err, errBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.release(ctx)
	if !st.exists && !st.full {
		return nil
	}
	used, err := s.used(ctx, st, inst.Plan)
	if err != nil {
		return err
	}
	return s.enforce(ctx, st, used, inst.Plan)
}
