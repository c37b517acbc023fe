-- +goose Up

-- The backend that made the instance: its name in the catalog, and its type. A plan
-- that moves to another backend must not take its instances along: the other one
-- would find nothing to revoke. Empty: not recorded yet, because the row is from
-- before this migration or from an older replica; the broker fills it in.
alter table instances add column backend text not null default '', add column backend_type text not null default '';
create index instances_without_backend on instances (plan_id) where backend = '';

-- The name that the outside resource has where it was made under an ID that nobody
-- knows any more: of an adopted orphan. Empty: it derives from resource_id or id.
alter table instances add column resource_name text not null default '';
create unique index instances_one_per_resource_name on instances (resource_name) where resource_name <> '';

-- An older replica that creates an instance anew, on another plan, does not know the
-- column. What it leaves there would belong to the plan before.
-- +goose StatementBegin
create function instances_renewed() returns trigger language plpgsql as $$
begin
    new.backend := '';
    new.backend_type := '';
    return new;
end
$$;
-- +goose StatementEnd
create trigger instances_renewed before update of plan_id on instances for each row
    when (old.status = 'create_failed' and new.status = 'creating' and old.plan_id <> new.plan_id and old.backend = new.backend)
    execute function instances_renewed();

-- +goose Down
drop trigger instances_renewed on instances;
drop function instances_renewed;
drop index instances_without_backend, instances_one_per_resource_name;
alter table instances drop column backend, drop column backend_type, drop column resource_name;
