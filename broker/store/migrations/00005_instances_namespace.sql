-- +goose Up

-- The Kubernetes namespace that the platform's context names; empty: none.
-- Quotas count by it. PostgreSQL cannot extract from JSON with \u0000 in it.
alter table instances add column namespace text not null default '';
update instances set namespace = context->>'namespace'
where context::text like '%"namespace"%'
    and case when context::text like '%\\u0000%' then false else json_typeof(context->'namespace') = 'string' end;
create index instances_by_organization on instances (platform, organization_id);
create index instances_by_space on instances (platform, space_id);
create index instances_by_namespace on instances (platform, namespace) where namespace <> '';

-- +goose Down
drop index instances_by_organization, instances_by_space, instances_by_namespace;
alter table instances drop column namespace;
