package state_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/functions/state"
)

// fill creates 20,000 namespaces with a key, a package, two actions, a trigger, a
// rule and activations each.
const fill = `
insert into namespaces (name, limits, mounts) select 'n' || n, '{}', '[]' from generate_series(1, 20000) n;
insert into keys (uuid, namespace, binding, hash, role)
select md5(n::text)::uuid, 'n' || n, 'b' || n, sha256(convert_to(n::text, 'UTF8')), 'read_write' from generate_series(1, 20000) n;
insert into packages (namespace, name, version, publish, annotations, parameters) select 'n' || n, 'p', '0.0.1', false, '[]', '' from generate_series(1, 20000) n;
insert into actions (namespace, package, name, version, publish, annotations, parameters, kind, main, code, code_hash, components, timeout_ms, memory_mb, logs_mb)
select 'n' || n, p, 'a', '0.0.1', false, '[]', '', 'nodejs:default', '', '', 'h' || n, '{}', 1, 1, 1 from generate_series(1, 20000) n, unnest('{"",p}'::text[]) p;
insert into triggers (namespace, name, version, publish, annotations, parameters) select 'n' || n, 't', '0.0.1', false, '[]', '' from generate_series(1, 20000) n;
insert into rules (namespace, name, version, publish, annotations, trigger, action_namespace, action_package, action_name, active)
select 'n' || n, 'r', '0.0.1', false, '[]', 't', 'n' || n, '', 'a', true from generate_series(1, 20000) n;
insert into activations (namespace, id, name, path, version, subject, started_at)
select 'n' || 1 + n % 1000, gen_random_uuid(), 'a', 'a', '0.0.1', 's', now() - n * interval '1 second' from generate_series(1, 100000) n;
insert into activations (namespace, id, name, path, version, subject, started_at, runtime)
select 'n' || n, gen_random_uuid(), 'a', 'a', '0.0.1', 's', now(), gen_random_uuid() from generate_series(1, 100) n;
insert into usage (namespace, runtime, minute, invocations, fires, running) select 'n' || n, gen_random_uuid(), 1, 1, 1, 1 from generate_series(1, 5000) n`

// explaining is a database that explains each statement before it runs.
type explaining struct {
	*pgxpool.Pool
	plans []string
}

func (e *explaining) explain(ctx context.Context, sql string, args []any) error {
	rows, err := e.Pool.Query(ctx, "explain "+sql, args...)
	if err != nil {
		return err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	e.plans = append(e.plans, strings.Join(lines, "\n"))
	return err
}

func (e *explaining) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := e.explain(ctx, sql, args); err != nil {
		return nil, err
	}
	return e.Pool.Query(ctx, sql, args...)
}

func (e *explaining) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := e.explain(ctx, sql, args); err != nil {
		return pgconn.CommandTag{}, err
	}
	return e.Pool.Exec(ctx, sql, args...)
}

func (e *explaining) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := e.explain(ctx, sql, args); err != nil {
		return unexplained{err}
	}
	return e.Pool.QueryRow(ctx, sql, args...)
}

type unexplained struct{ err error }

func (u unexplained) Scan(...any) error { return u.err }

// No query of a request, a fire or a heartbeat reads a whole table.
func TestPlansOfHotQueries(t *testing.T) {
	s := migrated(t)
	for _, statement := range []string{fill, "analyze"} {
		if _, err := s.Pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	key := sha256.Sum256([]byte("7"))
	id := uuid.MustParse("8f14e45f-ceea-167a-5a36-dedd4bea2543") // MD5 of 7
	list := state.ListActivationsParams{Namespace: "n7", Path: "a", Upto: time.Now(), Batch: 30}
	for name, query := range map[string]func(context.Context, state.DBTX) error{
		"resolve by key": func(ctx context.Context, db state.DBTX) error {
			row, err := s.Resolve(ctx, db, state.ResolveParams{Uuid: id, Hash: key[:], Package: "p", Name: "a"})
			if err == nil && (!row.Found || row.Caller != "n7" || row.Package != "p") {
				t.Errorf("resolved %+v", row)
			}
			return err
		},
		"resolve by namespace": func(ctx context.Context, db state.DBTX) error {
			_, err := s.Resolve(ctx, db, state.ResolveParams{Namespace: "n7", Target: "n8", Name: "a"})
			return err
		},
		"caller": func(ctx context.Context, db state.DBTX) error {
			_, err := s.Caller(ctx, db, state.CallerParams{Binding: "b7", Namespace: "n7"})
			return err
		},
		"activations": func(ctx context.Context, db state.DBTX) error {
			rows, err := s.ListActivations(ctx, db, list)
			if err == nil && len(rows) != 30 {
				t.Errorf("%d activations", len(rows))
			}
			return err
		},
		"activation": func(ctx context.Context, db state.DBTX) error {
			_, err := s.Activation(ctx, db, state.ActivationParams{Namespace: "n7", ID: id})
			return err
		},
		"rules": func(ctx context.Context, db state.DBTX) error {
			_, err := s.RulesOfTrigger(ctx, db, state.RulesOfTriggerParams{Namespace: "n7", Trigger: "t"})
			return err
		},
		"unused code": func(ctx context.Context, db state.DBTX) error {
			hashes, err := s.UnusedCode(ctx, db, []string{"h7", "x"})
			if err == nil && (len(hashes) != 1 || hashes[0] != "x") {
				t.Errorf("unused %v", hashes)
			}
			return err
		},
		"others' usage": func(ctx context.Context, db state.DBTX) error {
			_, err := s.OthersUsage(ctx, db, state.OthersUsageParams{Minute: 1, Namespaces: []string{"n7", "n8"}, Runtime: id})
			return err
		},
		"abandoned": func(ctx context.Context, db state.DBTX) error {
			n, err := s.EndAbandoned(ctx, db, state.EndAbandonedParams{Result: []byte("{}"), Seconds: 20})
			if err == nil && n != 100 {
				t.Errorf("%d abandoned", n)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := &explaining{Pool: s.Pool}
			if err := query(t.Context(), db); err != nil && !state.NotFound(err) {
				t.Fatal(err)
			}
			for _, plan := range db.plans {
				for _, table := range []string{"namespaces", "keys", "packages", "actions", "triggers", "rules", "activations", "usage"} {
					if strings.Contains(plan, "Seq Scan on "+table) {
						t.Errorf("it reads all of %s:\n%s", table, plan)
					}
				}
			}
		})
	}
}
