package store_test

import (
	"testing"

	"github.com/chandler-broker/chandler/broker/store"
)

// A backup stays as long as an operation has not seen how its copy ended: the copy's record goes with
// it, and the operation would wait for ever.
func TestBackupsStayForOperations(t *testing.T) {
	for _, held := range []bool{false, true} {
		s := migrated(t)
		exec := func(sql string, args ...any) {
			t.Helper()
			if _, err := s.Pool.Exec(t.Context(), sql, args...); err != nil {
				t.Fatal(err)
			}
		}
		deleting := func() (n int) {
			t.Helper()
			all, err := s.DeletingBackups(t.Context(), s.Pool, 10)
			if err != nil {
				t.Fatal(err)
			}
			byServers, err := s.DeletingHeldBackups(t.Context(), s.Pool, store.DeletingHeldBackupsParams{Backends: []string{"b"}, Batch: 10})
			if err != nil {
				t.Fatal(err)
			}
			return len(all) + len(byServers)
		}
		exec(`insert into backups (id, instance_id, resource_name, platform, organization_id, space_id, namespace, cluster_id, service_id, plan_id,
			backend, backend_type, server, parameters, origin, state, object, held)
			values ('k', 'i', 'r', 'cf', 'o', 's', '', '', 's', 'p', 'b', 't', 'default', '{}', 'clone', 'deleting', '', $1)`, held)
		exec(`insert into copies (id, kind, backup_id, instance_id, resource_name, server, state) values ('c', 'restore', 'k', 'j', 'q', 'b', 'running')`)
		exec(`insert into operations (id, kind, platform, instance_id, service_id, plan_id, deadline, job_id, copy_id)
			values ('o', 'provision', 'cf', 'j', 's', 'p', now(), 1, 'c')`)
		for _, step := range []struct {
			sql  string
			want int
		}{
			{"select 1", 0},
			{"update copies set state = 'succeeded', finished_at = now()", 0},
			{"update operations set state = 'succeeded', outcome = 'succeeded', finished_at = now()", 1},
		} {
			exec(step.sql)
			if n := deleting(); n != step.want {
				t.Errorf("held %t, after %s: %d backups are to be deleted, want %d", held, step.sql, n, step.want)
			}
		}
	}
}
