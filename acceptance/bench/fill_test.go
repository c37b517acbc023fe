package bench_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// instances is the number of instances in a full state, each with a binding and a history
// of two ended operations: make bench-scale asks for a million.
func instances() int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("CHANDLER_BENCH_INSTANCES"), "100000"))
	if err != nil {
		panic("CHANDLER_BENCH_INSTANCES: " + err.Error())
	}
	return n
}

// copied is what fill copies into a table. row returns the columns' values for the n-th.
type copied struct {
	table   string
	columns []string
	rows    int
	row     func(n int) []any
}

// fill fills a migrated state database with instances of one plan.
func fill(ctx context.Context, url, platform, serviceID, planID string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, c := range copies(platform, serviceID, planID) {
		source := pgx.CopyFromSlice(c.rows, func(n int) ([]any, error) { return c.row(n), nil })
		if _, err := conn.CopyFrom(ctx, pgx.Identifier{c.table}, c.columns, source); err != nil {
			return fmt.Errorf("fill the table %s: %w", c.table, err)
		}
	}
	// Or the server would do so while it is measured. The queue's tables are left
	// alone: they are empty now, and statistics that say so would mislead it.
	for _, statement := range []string{"vacuum analyze instances, bindings, operations, audit", "checkpoint"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("prepare the filled state: %w", err)
		}
	}
	return nil
}

func copies(platform, serviceID, planID string) []copied {
	count, now := instances(), time.Now()
	id := func(n int) string { return fmt.Sprint("filler-", n+1) }
	binding := func(n int) string { return fmt.Sprint("filler-binding-", n+1) }
	ended := func(kind string, bound func(int) string) copied {
		return copied{
			"operations",
			[]string{"id", "kind", "platform", "instance_id", "binding_id", "service_id", "plan_id", "state", "outcome", "deadline", "finished_at"},
			count, func(n int) []any {
				return []any{fmt.Sprint("filler-", kind, "-", n), kind, platform, id(n), bound(n), serviceID, planID, "succeeded", "succeeded", now, now}
			},
		}
	}
	return []copied{
		{
			"instances",
			[]string{"id", "platform", "service_id", "plan_id", "organization_id", "space_id", "context", "parameters", "maintenance_version", "status"},
			count, func(n int) []any {
				return []any{id(n), platform, serviceID, planID, "org", "space", `{"platform": "cloudfoundry"}`, "{}", "", "ready"}
			},
		},
		{
			"bindings",
			[]string{"id", "instance_id", "platform", "service_id", "plan_id", "app_id", "bind_resource", "context", "parameters", "status"},
			count, func(n int) []any {
				return []any{binding(n), id(n), platform, serviceID, planID, "app", "{}", "{}", "{}", "ready"}
			},
		},
		ended("provision", func(int) string { return "" }),
		ended("bind", binding),
		{
			"audit",
			[]string{"platform", "request_id", "action", "event", "instance_id", "service_id", "plan_id"},
			2 * count, func(n int) []any {
				return []any{platform, "request", "provision", []string{"accepted", "succeeded"}[n%2], id(n / 2), serviceID, planID}
			},
		},
	}
}

// fillSecrets gives every filler's binding the sealed secrets of a real one,
// which has to exist: copies that cannot be opened under another name, but are
// there.
func fillSecrets(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	copied, err := conn.Exec(ctx, fmt.Sprintf(`insert into sealed_secrets
		select (jsonb_populate_record(null::sealed_secrets, to_jsonb(s) || jsonb_build_object('path',
			'instances/filler-' || n || '/bindings/filler-binding-' || n || '/' || regexp_replace(s.path, '.*/', '')))).*
		from (select * from sealed_secrets where path like 'instances/%%' order by path limit 2) s, generate_series(1, %d) n`, instances()))
	if err == nil && copied.RowsAffected() != int64(2*instances()) {
		err = fmt.Errorf("%d secrets copied: is there a binding?", copied.RowsAffected())
	}
	return err
}
