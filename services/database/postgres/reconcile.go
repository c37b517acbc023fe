package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

// databasesTime is how long one call works on single databases. With what it does to revoked
// roles, the call must end in time.
const databasesTime = 12 * time.Second

// Reconcile implements services.Reconciler: it keeps spares ready, enforces the plans'
// limits on databases and sessions, reverts tenants' changes of those, and ends sessions
// whose role is gone, and what copies left that crashed.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	result.AfterProvision = slices.ContainsFunc(r.Plans, func(p Plan) bool { return p.Spares > 0 })
	ended := map[string]string{} // why a session was ended, by database
	faults := []error{
		b.endLockHolders(ctx, r.Plans, r.Instances, ended), // first: the rest needs room in the lock table
		b.keepSpares(ctx, r.Plans),
	}
	states, err := b.measure(ctx, r.Instances)
	if err != nil {
		return result, errors.Join(append(faults, err)...)
	}
	var measured []instance
	limited, cancel := context.WithTimeout(ctx, databasesTime)
	defer cancel()
	for _, i := range rand.Perm(len(r.Instances)) { //nolint:gosec // so that slow ones do not always precede the same ones
		inst := r.Instances[i]
		st := states[b.names.instance(inst.Name).database]
		if st.complete() && st.Version < settableTempFiles {
			measured = append(measured, inst)
		}
		condition, err := b.reconcileInstance(limited, inst, st)
		result.Record(inst.ID, condition, err)
	}
	faults = append(faults, b.endSpillers(ctx, measured, ended), b.endQueueHolder(ctx, ended), b.sweep(ctx), b.dropSomeRevoked(ctx), b.dropStrays(ctx), b.endLeftCopies(ctx))
	for _, inst := range r.Instances {
		found := result.Instances[inst.ID]
		if why := ended[b.names.instance(inst.Name).database]; found.Condition.Message == "" {
			result.Record(inst.ID, services.Condition{Reason: services.OverQuota, Message: why}, found.Err)
		}
	}
	return result, errors.Join(faults...)
}

// reconcileInstance enforces the plan on one instance, and returns its condition.
func (b *backend) reconcileInstance(ctx context.Context, inst instance, st *state) (services.Condition, error) {
	if !st.complete() {
		if b.isDropped(ctx, inst) {
			return services.Condition{Reason: services.Inaccessible, Message: droppedMessage}, nil
		}
		return services.Condition{}, nil // it is being made or removed
	}
	condition := services.Condition{Reason: services.OverQuota, Message: st.quota(inst.Plan).Note("delete or truncate, or choose a larger plan")}
	if st.inSync(inst.Plan) {
		if !st.Database.Shows {
			return condition, b.showSessions(ctx, inst)
		}
		return condition, nil
	}
	err := b.reconcileDatabase(ctx, inst)
	if err == nil {
		return condition, nil
	}
	if !disconnected(err) && ctx.Err() == nil {
		message := "the broker cannot enter the database, so the plan's limits are not enforced; ask your operator, whose log says why"
		condition = services.Condition{Reason: services.Inaccessible, Message: usage.Join(message, condition.Message)}
	}
	return condition, fmt.Errorf("database of instance %s: %w", inst.ID, err)
}

// isDropped says whether an instance's database was dropped, and not by an operation in progress.
func (b *backend) isDropped(ctx context.Context, inst instance) bool {
	gone := false // until the next round, if the server does not answer
	_ = b.work(ctx, ifFree, b.names.instance(inst.Name), "", []string{lockedPart, databasePart, groupsPart}, func(_ context.Context, _ *session, st *state) error {
		gone = st.Locked && st.checkNotDropped() != nil
		return nil
	})
	return gone
}

// deviation is a difference between a database and its plan.
type deviation struct {
	doing      string
	statements []string
}

// deviations compares all but the quota.
func (st *state) deviations(p Plan) []deviation {
	var list []deviation
	if !st.Database.Open { // its owner can have shut everybody out, from another database
		list = append(list, deviation{"reopen a closed database", st.asOwner(st.alter() + " WITH ALLOW_CONNECTIONS true IS_TEMPLATE false")})
	}
	switch {
	case st.Database.hasSetting(oversized):
		reset := append([]string{st.alter() + " RESET ALL"}, settings(st, p)...)
		list = append(list, deviation{"reset settings that are too large", st.asOwner(reset...)})
	case !st.hasTempLimit(p):
		list = append(list, deviation{"set the limit of temporary files", st.asOwner(setTempLimit(st, p)...)})
	}
	if st.Database.Limit != p.Connections {
		list = append(list, deviation{"put the limit of connections back", limits(st, p)})
	}
	return list
}

func (st *state) inSync(p Plan) bool {
	locked := st.Moved && len(st.membersOf(st.names.owner))+st.Database.Owners == 0
	return len(st.deviations(p)) == 0 && st.quota(p).InSync(locked)
}

// reconcileDatabase enforces the plan on one database, unless another session works on it.
func (b *backend) reconcileDatabase(ctx context.Context, inst instance) error {
	parts := []string{lockedPart, versionPart, measuredPart, groupsPart, movedPart, membersPart}
	return b.work(ctx, ifFree, b.names.instance(inst.Name), "", parts, func(ctx context.Context, s *session, st *state) error {
		if !st.mayEnter() {
			return nil
		}
		for _, d := range st.deviations(inst.Plan) {
			if err := b.insist(ctx, s, d.statements, ""); err != nil {
				return explain(d.doing, err)
			}
		}
		return b.enforce(ctx, s, st, inst.Plan)
	})
}

// mayEnter says whether the session holds the lock of an instance that is complete.
func (st *state) mayEnter() bool {
	return st.Locked && st.Database != nil && st.Database.Owner == st.names.owner
}

// sweep ends the sessions whose role is gone or lost the right to connect, and those
// that began before their full database became read-only.
func (b *backend) sweep(ctx context.Context) error {
	err := b.execute(ctx, `SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
		LEFT JOIN pg_catalog.pg_roles u ON u.oid = a.usesysid
		LEFT JOIN pg_catalog.pg_roles o ON o.rolname = a.datname || '_over'
		WHERE a.usesysid IS NOT NULL AND a.datname ~ `+literal(b.names.single.String())+` AND (u.oid IS NULL OR u.rolname ~ `+literal(b.names.revoked.String())+`
			OR NOT u.rolsuper AND u.rolname <> CURRENT_USER AND (
				NOT pg_catalog.has_database_privilege(u.oid, a.datid, 'CONNECT')
				OR a.backend_start < pg_catalog.shobj_description(o.oid, 'pg_authid')::pg_catalog.timestamptz))`)
	return explain("end sessions that slipped through", err)
}
