package store_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/broker/store"
)

// fill makes a state of 100,000 instances with a binding each and the
// operations and audit records of three days.
const fill = `
insert into instances (id, platform, service_id, plan_id, organization_id, space_id, namespace, context, parameters, maintenance_version, status, backend)
select 'i' || n, 'cf', 's', 'p' || n % 5, 'o' || n % 100, 's' || n % 1000, 'n' || n % 1000, '{}', '{}', '', 'ready',
    case n when 7 then '' else 'b' end from generate_series(1, 100000) n;
insert into bindings (id, instance_id, platform, service_id, plan_id, app_id, bind_resource, context, parameters, status)
select 'b' || n, 'i' || n, 'cf', 's', 'p', 'a', '{}', '{}', '{}', 'ready' from generate_series(1, 100000) n;
insert into operations (id, kind, platform, instance_id, binding_id, service_id, plan_id, state, outcome, deadline, finished_at)
select k || n, k, 'cf', 'i' || n, case k when 'bind' then 'b' || n else '' end, 's', 'p', 'succeeded', 'succeeded', now(), now() - n * interval '2 seconds'
from generate_series(1, 100000) n, unnest('{provision,bind}'::text[]) k;
insert into operations (id, kind, platform, instance_id, service_id, plan_id, deadline, job_id, created_at)
select 'u' || n, 'update', 'cf', 'i' || n, 's', 'p', now(), n, now() - interval '1 minute' from generate_series(1, 100) n;
insert into river_job (state, args, kind, max_attempts, priority, queue, attempted_at)
select 'running', '{}', 'operation', 1, 1, 'default', now() from generate_series(1, 10000) n;
insert into forgotten (instance_id, binding_id, app_id, bind_resource, context, delivery, at)
select 'i' || n, 'b' || n, 'a', '{}', '{}', 'inline', now() - n * interval '2 seconds' from generate_series(1, 100000) n;
insert into backups (id, instance_id, resource_name, platform, organization_id, space_id, namespace, cluster_id, service_id, plan_id,
    backend, backend_type, server, parameters, name, origin, state, object, created_at, expires_at)
select 'k' || n || '-' || m, 'i' || n, 'r' || n, 'cf', 'o', 's', '', '', 's', 'p', 'b', 't', 'default', '{}', '', 'schedule',
    case when n % 1000 = 0 and m = 1 then 'deleting' else 'ready' end, 'o', now() - m * interval '1 day',
    case when n % 100 = 0 then now() + interval '1 day' end
from generate_series(1, 50000) n, generate_series(1, 3) m;
insert into copies (id, kind, backup_id, instance_id, resource_name, server, state, finished_at)
select 'c' || id, 'backup', id, instance_id, resource_name, 'b', 'succeeded', now() - interval '60 hours' * random() from backups;
insert into copies (id, kind, backup_id, instance_id, resource_name, server, state)
select 'v' || n, case when n % 10 = 0 then 'verify' else 'backup' end, 'k' || n || '-2', 'i' || n, 'r' || n, 'b', 'waiting' from generate_series(1, 500) n;
insert into backup_schedules (instance_id, schedule, next_at)
select 'i' || n, '15 3 * * * ', now() + n * interval '1 second' - interval '1 minute' from generate_series(1, 100000) n;
insert into audit (platform, request_id, action, event, instance_id)
select 'cf', 'r', 'provision', e, 'i' || n from generate_series(1, 100000) n, unnest('{accepted,succeeded}'::text[]) e`

// explaining is a database whose statements are explained before they run.
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
		return failed{err}
	}
	return e.Pool.QueryRow(ctx, sql, args...)
}

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

// No query of a request, an attempt or the reconciliation reads a whole table.
func TestPlansOfHotQueries(t *testing.T) {
	s := migrated(t)
	ctx := t.Context()
	if _, err := s.Pool.Exec(ctx, fill); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pool.Exec(ctx, "analyze"); err != nil {
		t.Fatal(err)
	}
	none := func(err error) error {
		if store.NotFound(err) {
			return nil
		}
		return err
	}
	before := time.Now().Add(-50 * time.Hour)
	tests := map[string]func(db store.DBTX) error{
		"PruneOperations": func(db store.DBTX) error {
			_, err := s.PruneOperations(ctx, db, store.PruneOperationsParams{Before: &before, Batch: 1000})
			return err
		},
		"SetConditions": func(db store.DBTX) error {
			return s.SetConditions(ctx, db, store.SetConditionsParams{Ids: names("i", 500), Conditions: names("c", 500), Reasons: names("r", 500)})
		},
		"SetInstanceStatus": func(db store.DBTX) error {
			return s.SetInstanceStatus(ctx, db, store.SetInstanceStatusParams{ID: "i7", Status: store.Ready})
		},
		"FinishOperation": func(db store.DBTX) error {
			return s.FinishOperation(ctx, db, store.FinishOperationParams{ID: "u10", State: store.Succeeded, Phase: store.PhaseDo})
		},
		"NoteOperation": func(db store.DBTX) error { return s.RecordAttempt(ctx, db, store.RecordAttemptParams{ID: "u11"}) },
		"DeleteBinding": func(db store.DBTX) error { return s.DeleteBinding(ctx, db, "b9") },
		"ForgetAgain":   func(db store.DBTX) error { return s.AddSecretDeletion(ctx, db, "b7") },
		"Forgotten": func(db store.DBTX) error {
			_, err := s.SecretDeletions(ctx, db, store.SecretDeletionsParams{Before: before, Batch: 100})
			return err
		},
		"EndForgotten": func(db store.DBTX) error {
			_, err := s.ClaimSecretDeletion(ctx, db, store.ClaimSecretDeletionParams{InstanceID: "i7", BindingID: "b7", At: before})
			return err
		},
		"DeleteBindingsOfInstance": func(db store.DBTX) error { return s.DeleteBindingsOfInstance(ctx, db, "i8") },
		"DeleteInstance":           func(db store.DBTX) error { return s.DeleteInstance(ctx, db, "i8") },
		"BackupsOfResource":        func(db store.DBTX) error { _, err := s.BackupsOfResource(ctx, db, "r7"); return err },
		"BackupsOfInstance":        func(db store.DBTX) error { _, err := s.ReadyBackupsOfInstance(ctx, db, "i7"); return err },
		"BackupByName": func(db store.DBTX) error {
			_, err := s.BackupByName(ctx, db, store.BackupByNameParams{ResourceName: "r7", Name: "n"})
			return none(err)
		},
		"CountBackups":    func(db store.DBTX) error { _, err := s.CountBackupsOfResource(ctx, db, "r7"); return err },
		"DeletingBackups": func(db store.DBTX) error { _, err := s.DeletingBackups(ctx, db, 100); return err },
		"DeletingHeldBackups": func(db store.DBTX) error {
			_, err := s.DeletingHeldBackups(ctx, db, store.DeletingHeldBackupsParams{Backends: []string{"b"}, Batch: 100})
			return err
		},
		"SetBackupHeld":  func(db store.DBTX) error { return s.SetBackupHeld(ctx, db, "k7-1") },
		"BackupIDs":      func(db store.DBTX) error { _, err := s.BackupIDs(ctx, db, []string{"k7-1", "none"}); return err },
		"ExpiredBackups": func(db store.DBTX) error { _, err := s.MarkBackupsExpired(ctx, db, 100); return err },
		"ExpireBackups": func(db store.DBTX) error {
			return s.ExpireBackupsOfResource(ctx, db, store.ExpireBackupsOfResourceParams{ResourceName: "r7", After: 1})
		},
		"MoveBackups": func(db store.DBTX) error {
			return s.MoveBackups(ctx, db, store.MoveBackupsParams{ResourceName: "r7", InstanceID: "i7"})
		},
		"ListBackups": func(db store.DBTX) error {
			_, err := s.ListBackups(ctx, db, store.ListBackupsParams{Before: "~", Batch: 100})
			return err
		},
		"CopyAndBackup":    func(db store.DBTX) error { _, err := s.CopyAndBackup(ctx, db, "v1"); return err },
		"CopyOfBackup":     func(db store.DBTX) error { _, err := s.CopyOfBackup(ctx, db, "k7-1"); return err },
		"UnfinishedCopies": func(db store.DBTX) error { _, err := s.UnfinishedCopies(ctx, db, "r7"); return err },
		"CountCopies":      func(db store.DBTX) error { _, err := s.CountUnfinishedCopies(ctx, db); return err },
		"ScratchResources": func(db store.DBTX) error { _, err := s.ScratchResources(ctx, db); return err },
		"DueCopies": func(db store.DBTX) error {
			_, err := s.DueCopies(ctx, db, store.DueCopiesParams{Servers: []string{"a", "b"}, Batch: 50})
			return err
		},
		"CancelCopies": func(db store.DBTX) error { _, err := s.CancelCopiesOfResource(ctx, db, "r9"); return err },
		"DeleteUnmadeBackups": func(db store.DBTX) error {
			return s.DeleteUnmadeBackups(ctx, db, []string{"v1"})
		},
		"PruneCopies": func(db store.DBTX) error {
			_, err := s.PruneCopies(ctx, db, store.PruneCopiesParams{Before: &before, Batch: 100})
			return err
		},
		"DueSchedules":      func(db store.DBTX) error { _, err := s.DueSchedules(ctx, db, 100); return err },
		"Instance":          func(db store.DBTX) error { _, err := s.Instance(ctx, db, "i7"); return err },
		"InstanceForUpdate": func(db store.DBTX) error { _, err := s.InstanceForUpdate(ctx, db, "i7"); return err },
		"InstanceForBind": func(db store.DBTX) error {
			_, err := s.InstanceForBind(ctx, db, store.InstanceForBindParams{ID: "i7", BindingID: "none"})
			return err
		},
		"LockInstanceRow":  func(db store.DBTX) error { return s.LockInstanceRow(ctx, db, "i7") },
		"InstanceForShare": func(db store.DBTX) error { _, err := s.InstanceForShare(ctx, db, "i7"); return err },
		"Binding":          func(db store.DBTX) error { _, err := s.Binding(ctx, db, "b7"); return err },
		"BindingForUpdate": func(db store.DBTX) error { _, err := s.BindingForUpdate(ctx, db, "b7"); return err },
		"BindingsOfInstance": func(db store.DBTX) error {
			_, err := s.BindingsOfInstance(ctx, db, "i7")
			return err
		},
		"Operation":            func(db store.DBTX) error { _, err := s.Operation(ctx, db, "u7"); return err },
		"OperationAndInstance": func(db store.DBTX) error { _, err := s.OperationAndInstance(ctx, db, "u7"); return err },
		"OperationPhase":       func(db store.DBTX) error { _, err := s.OperationPhase(ctx, db, "u7"); return err },
		"LastOperation": func(db store.DBTX) error {
			_, err := s.LastOperation(ctx, db, store.LastOperationParams{InstanceID: "i7"})
			return err
		},
		"LastOperation of a binding": func(db store.DBTX) error {
			_, err := s.LastOperation(ctx, db, store.LastOperationParams{InstanceID: "i7", BindingID: "b7"})
			return err
		},
		"UnfinishedOperations": func(db store.DBTX) error { _, err := s.UnfinishedOperations(ctx, db, "i7"); return err },
		"CountUnfinished":      func(db store.DBTX) error { _, err := s.CountUnfinished(ctx, db); return err },
		"StuckOperations":      func(db store.DBTX) error { _, err := s.StuckOperations(ctx, db); return err },
		"AuditOfInstance":      func(db store.DBTX) error { _, err := s.AuditOfInstance(ctx, db, "i7"); return err },
		"Deleted": func(db store.DBTX) error {
			_, err := s.WasDeleted(ctx, db, store.WasDeletedParams{InstanceID: "i7", Platform: "cf"})
			return err
		},
		"BeginUndo": func(db store.DBTX) error {
			_, err := s.BeginUndo(ctx, db, store.BeginUndoParams{ID: "u8"})
			return none(err)
		},
		"RetryOperation": func(db store.DBTX) error {
			_, err := s.RetryOperation(ctx, db, store.RetryOperationParams{ID: "u9", Deadline: time.Now()})
			return none(err)
		},
		"BindingsToExpire": func(db store.DBTX) error {
			_, err := s.ExpiredBindings(ctx, db, time.Now())
			return err
		},
		"RecordBackends": func(db store.DBTX) error {
			_, err := s.RecordBackends(ctx, db, store.RecordBackendsParams{
				PlanIds: []string{"p1", "p2"}, Backends: []string{"b", "c"}, BackendTypes: []string{"t", "t"}, Batch: 1000,
			})
			return err
		},
		"InstancesToDelete": func(db store.DBTX) error { _, err := s.RetainedInstancesDue(ctx, db); return err },
		"InsertInstance": func(db store.DBTX) error {
			_, err := s.InsertInstance(ctx, db, store.InsertInstanceParams{ID: "i7", Context: []byte("{}"), Parameters: []byte("{}")})
			return err
		},
		"CountInstances of a space": func(db store.DBTX) error {
			_, err := s.CountInstances(ctx, db, store.Filter{Platform: "cf", SpaceID: "s7", PlanID: "p1", Except: "i7"})
			return err
		},
		"CountInstances of an organization": func(db store.DBTX) error {
			_, err := s.CountInstances(ctx, db, store.Filter{Platform: "cf", OrganizationID: "o7", Except: "i7"})
			return err
		},
		"CountInstances of a namespace": func(db store.DBTX) error {
			_, err := s.CountInstances(ctx, db, store.Filter{Platform: "cf", Namespace: "n7", ServiceID: "s", Except: "i7"})
			return err
		},
		"ReadyInstances": func(db store.DBTX) error {
			_, err := s.ReadyInstances(ctx, db, store.ReadyInstancesParams{PlanIds: []string{"p1", "p2"}, After: "i5", Batch: 500})
			return err
		},
		"ReadyInstances of an empty plan": func(db store.DBTX) error {
			_, err := s.ReadyInstances(ctx, db, store.ReadyInstancesParams{PlanIds: []string{"none"}, Batch: 500})
			return err
		},
		"ListOperations": func(db store.DBTX) error {
			_, err := s.ListOperations(ctx, db, store.ListOperationsParams{Before: 1 << 62, Batch: 100})
			return err
		},
		"ListInstances": func(db store.DBTX) error {
			_, err := s.ListInstances(ctx, db, store.ListInstancesParams{After: "i5", Batch: 100})
			return err
		},
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) { // bindings go before their instance
		f := tests[name]
		t.Run(name, func(t *testing.T) {
			db := &explaining{Pool: s.Pool}
			if err := f(db); err != nil {
				t.Fatal(err)
			}
			for _, plan := range db.plans {
				if strings.Contains(plan, "Seq Scan") {
					t.Errorf("reads a whole table:\n%s", plan)
				}
			}
			if len(db.plans) != 1 {
				t.Errorf("%d statements were explained", len(db.plans))
			}
		})
	}
}

func names(prefix string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(prefix, i))
	}
	return all
}
