package bench_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// many is how many instances a full state has, each with a binding and a history
// of two ended operations.
const many = 100_000

// fill fills a migrated state database with instances of one plan.
func fill(ctx context.Context, url, platform, serviceID, planID string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	series := fmt.Sprintf("generate_series(1, %d) n", many)
	for _, statement := range []string{
		`insert into instances (id, platform, service_id, plan_id, organization_id, space_id, context, parameters, maintenance_version, status)
			select 'filler-' || n, $1, $2, $3, 'org', 'space', '{"platform": "cloudfoundry"}', '{}', '', 'ready' from ` + series,
		`insert into bindings (id, instance_id, platform, service_id, plan_id, app_id, bind_resource, context, parameters, status)
			select 'filler-binding-' || n, 'filler-' || n, $1, $2, $3, 'app', '{}', '{}', '{}', 'ready' from ` + series,
		`insert into operations (id, kind, platform, instance_id, service_id, plan_id, state, outcome, deadline, finished_at)
			select 'filler-provision-' || n, 'provision', $1, 'filler-' || n, $2, $3, 'succeeded', 'succeeded', now(), now() from ` + series,
		`insert into operations (id, kind, platform, instance_id, binding_id, service_id, plan_id, state, outcome, deadline, finished_at)
			select 'filler-bind-' || n, 'bind', $1, 'filler-' || n, 'filler-binding-' || n, $2, $3, 'succeeded', 'succeeded', now(), now() from ` + series,
		`insert into audit (platform, request_id, action, event, instance_id, service_id, plan_id)
			select $1, 'request', 'provision', event, 'filler-' || n, $2, $3 from ` + series + `, unnest(array['accepted', 'succeeded']) event`,
	} {
		if _, err := conn.Exec(ctx, statement, platform, serviceID, planID); err != nil {
			return fmt.Errorf("fill the state: %w", err)
		}
	}
	// Or the server would do so while it is measured. The queue's tables are let
	// alone: they are empty now, and statistics that say so would mislead it.
	for _, settle := range []string{"vacuum analyze instances, bindings, operations, audit", "checkpoint"} {
		if _, err := conn.Exec(ctx, settle); err != nil {
			return fmt.Errorf("settle the state: %w", err)
		}
	}
	return nil
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
		from (select * from sealed_secrets where path like 'instances/%%' order by path limit 2) s, generate_series(1, %d) n`, many))
	if err == nil && copied.RowsAffected() != 2*many {
		err = fmt.Errorf("%d secrets copied: is there a binding?", copied.RowsAffected())
	}
	return err
}
