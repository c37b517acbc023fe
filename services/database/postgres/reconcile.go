package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/usage"
)

// holdTime is how long one call works on single databases before it does what concerns
// all of them.
const holdTime = 20 * time.Second

// Reconcile implements services.Reconciler: it keeps spares ready, enforces the plans'
// limits on databases and sessions, reverts tenants' changes of those, and ends sessions
// whose role is gone.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	result.AfterProvision = slices.ContainsFunc(r.Plans, func(p Plan) bool { return p.Spares > 0 })
	ended := map[string]string{}
	faults := []error{
		b.endLockHolders(ctx, r.Plans, r.Instances, ended), // first: the rest needs room in the lock table
		b.keepSpares(ctx, r.Plans),
	}
	facts, err := b.look(ctx, r.Instances)
	if err != nil {
		return result, errors.Join(append(faults, err)...)
	}
	var measured []instance
	limited, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	for _, i := range rand.Perm(len(r.Instances)) { //nolint:gosec // so that slow ones do not always precede the same ones
		inst := r.Instances[i]
		f, found := facts[b.names.instance(inst.Name).database]
		if !found {
			var condition services.Condition // else it is being made or removed
			if b.isDropped(limited, inst) {
				condition = services.Condition{Reason: services.Inaccessible, Message: droppedMessage}
			}
			result.Record(inst.ID, condition, nil)
			continue
		}
		if f.Version < settableTempFiles {
			measured = append(measured, inst)
		}
		condition, err := b.hold(limited, inst, f)
		result.Record(inst.ID, condition, err)
	}
	faults = append(faults, b.endSpillers(ctx, measured, ended), b.endQueueHolder(ctx, ended), b.sweep(ctx), b.clearRevoked(ctx), b.dropStrays(ctx))
	b.report(&result, r.Instances, ended)
	return result, errors.Join(faults...)
}

// hold enforces the plan on one database, and returns its condition.
func (b *backend) hold(ctx context.Context, inst instance, f fact) (services.Condition, error) {
	condition := services.Condition{Reason: services.OverQuota, Message: f.note(inst.Plan)}
	if f.inSync(inst.Plan) {
		if !f.Shows {
			return condition, b.showSessions(ctx, inst)
		}
		return condition, nil
	}
	err := b.reconcileDatabase(ctx, inst)
	if err == nil {
		return condition, nil
	}
	if !disconnected(err) && ctx.Err() == nil {
		condition = inaccessible(condition.Message)
	}
	return condition, fmt.Errorf("database of instance %s: %w", inst.ID, err)
}

// isDropped says whether an instance's database was dropped, and no session works on the
// instance.
func (b *backend) isDropped(ctx context.Context, inst instance) bool {
	gone := false // until the next round, if the server does not answer
	_ = b.work(ctx, attempt, b.names.instance(inst.Name), "", []string{lockedPart, databasePart, groupsPart}, func(_ *session, st *state) error {
		gone = st.Locked && dropped(st) != nil
		return nil
	})
	return gone
}

// inaccessible is the condition of a database whose limits could not be enforced.
func inaccessible(also string) services.Condition {
	message := "the broker cannot enter the database, so the plan's limits are not enforced; ask your operator, whose log says why"
	if also != "" {
		message += "; " + also
	}
	return services.Condition{Reason: services.Inaccessible, Message: message}
}

// fact is what Reconcile has to know of one database.
type fact struct {
	Database string `json:"database"`
	Bytes    int64  `json:"bytes"`
	Limit    int    `json:"limit"`
	Over     bool   `json:"over"`
	Moved    bool   `json:"moved"`
	Writers  int    `json:"writers"`
	// Owners is how many bindings may not write, and own something to which they can.
	Owners int `json:"owners"`
	// Closed says that a tenant closed the database.
	Closed bool `json:"closed"`
	// Shows says whether the database has the functions that show sessions.
	Shows bool `json:"shows"`
	// Settings are as in databaseState.
	Settings []string `json:"settings"`
	Version  int      `json:"version"`
}

func (f fact) size() services.Size { return services.Size(f.Bytes) }

func (f fact) oversized() bool { return (&databaseState{Settings: f.Settings}).sets(oversized) }

// inSync says whether the database is as its plan demands.
func (f fact) inSync(p Plan) bool {
	switch {
	case f.Limit != p.Connections || f.Closed || f.oversized() || !hasTempLimit(f.Version, f.Settings, p):
		return false
	case f.Over && usage.MayResume(f.size(), p.Storage):
		return false
	case f.Over || usage.Exceeds(f.size(), p.Storage):
		return f.Over && f.Moved && f.Writers+f.Owners == 0
	}
	return true
}

// note tells the instance's user that writes are refused; empty if they are not.
func (f fact) note(p Plan) string {
	if !usage.Exceeds(f.size(), p.Storage) && (!f.Over || usage.MayResume(f.size(), p.Storage)) {
		return ""
	}
	return usage.WritesRefused(f.size(), p.Storage) + ": delete or truncate, or choose a larger plan"
}

// look reads all facts in one query.
func (b *backend) look(ctx context.Context, instances []instance) (map[string]fact, error) {
	if len(instances) == 0 {
		return nil, nil
	}
	databases := make([]string, len(instances))
	for i, inst := range instances {
		databases[i] = b.names.instance(inst.Name).database
	}
	facts := map[string]fact{}
	err := database.Query(ctx, b.pool, `SELECT pg_catalog.json_build_object(
		'database', d.datname, 'bytes', pg_catalog.pg_database_size(d.oid), 'limit', d.datconnlimit,
		'over', o.oid IS NOT NULL,
		'moved', pg_catalog.shobj_description(o.oid, 'pg_authid') IS NOT NULL,
		'writers', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_auth_members am
			JOIN pg_catalog.pg_roles w ON w.oid = am.roleid AND w.rolname = d.datname || '_owner'
			JOIN pg_catalog.pg_roles m ON m.oid = am.member AND m.rolname ~ `+literal(b.names.single.String())+`),
		'owners', CASE WHEN o.oid IS NOT NULL THEN (SELECT pg_catalog.count(DISTINCT m.oid) `+ownersIn+` AND m.rolname ~ `+literal(b.names.single.String())+`) END,
		'closed', NOT d.datallowconn,
		'shows', EXISTS (SELECT FROM pg_catalog.pg_roles v WHERE v.rolname = d.datname || '_sessions'
			AND pg_catalog.shobj_description(v.oid, 'pg_authid') = d.oid::pg_catalog.text),
		'settings', `+databaseSettings+`, `+versionPart+`)
		FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_roles o ON o.rolname = d.datname || '_over'
		WHERE d.datname IN (`+literals(databases)+`) AND d.datconnlimit <> -2
		AND (d.datallowconn OR pg_catalog.pg_get_userbyid(d.datdba) = d.datname || '_owner')`, func(rows *sql.Rows) error {
		var f fact
		err := scanJSON(rows, &f)
		facts[f.Database] = f
		return err
	})
	return facts, explain("ask how large the databases are", err)
}

// reconcileDatabase enforces the plan on one instance, unless another session works on
// it: then the next round does.
func (b *backend) reconcileDatabase(ctx context.Context, inst instance) error {
	parts := []string{lockedPart, versionPart, sizePart, groupsPart, movedPart, membersPart}
	return b.work(ctx, attempt, b.names.instance(inst.Name), "", parts, func(s *session, st *state) error {
		return b.reconcileLocked(ctx, s, st, inst)
	})
}

func (b *backend) reconcileLocked(ctx context.Context, s *session, st *state, inst instance) error {
	if !st.Locked || st.Database == nil || st.Database.Owner != st.names.owner {
		return nil // being made, changed or removed
	}
	if !st.Database.Open {
		// Its owner can have shut everybody out, from another database.
		if err := b.insist(ctx, s, st.asOwner(st.alter()+" WITH ALLOW_CONNECTIONS true IS_TEMPLATE false"), nil); err != nil {
			return explain("reopen a closed database", err)
		}
	}
	if st.Database.sets(oversized) {
		reset := st.asOwner(append([]string{st.alter() + " RESET ALL"}, settings(st, inst.Plan)...)...)
		if err := b.insist(ctx, s, reset, nil); err != nil {
			return explain("reset settings that are too large", err)
		}
	} else if !hasTempLimit(st.Version, st.Database.Settings, inst.Plan) {
		if err := b.insist(ctx, s, st.asOwner(tempLimit(st, inst.Plan)...), nil); err != nil {
			return limitError("set the limit of temporary files", err)
		}
	}
	if st.Database.Limit != inst.Plan.Connections {
		if err := b.insist(ctx, s, limits(st, inst.Plan), nil); err != nil {
			return explain("put the limit of connections back", err)
		}
	}
	return b.enforce(ctx, s, st, inst.Plan)
}

// sweep ends the sessions whose role is gone or lost the right to connect, and those
// that began before their full database became read-only.
func (b *backend) sweep(ctx context.Context) error {
	_, err := b.pool.ExecContext(ctx, `SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
		LEFT JOIN pg_catalog.pg_roles u ON u.oid = a.usesysid
		LEFT JOIN pg_catalog.pg_roles o ON o.rolname = a.datname || '_over'
		WHERE a.usesysid IS NOT NULL AND a.datname ~ `+literal(b.names.single.String())+` AND (u.oid IS NULL OR u.rolname ~ `+literal(b.names.revoked.String())+`
			OR NOT u.rolsuper AND u.rolname <> CURRENT_USER AND (
				NOT pg_catalog.has_database_privilege(u.oid, a.datid, 'CONNECT')
				OR a.backend_start < pg_catalog.shobj_description(o.oid, 'pg_authid')::pg_catalog.timestamptz))`)
	return explain("end sessions that slipped through", err)
}
