-- +goose Up

-- Names of outside resources derive from resource_id, the ID that the resource
-- was made under; empty: from id. kept: deleted by the platform, its data is
-- there until kept_until. Its id has a suffix, so that the platform may use the
-- one it knows anew.
alter table instances add column resource_id text not null default '', add column kept_until timestamptz;
alter table instances drop constraint instances_status_check;
alter table instances add constraint instances_status_check
    check (status in ('creating', 'ready', 'create_failed', 'delete_failed', 'kept'));
create unique index instances_one_per_resource on instances (coalesce(nullif(resource_id, ''), id));
create index instances_kept on instances (kept_until) where kept_until is not null;

-- +goose Down
drop index instances_one_per_resource, instances_kept;
alter table instances drop constraint instances_status_check, drop column resource_id, drop column kept_until;
alter table instances add constraint instances_status_check
    check (status in ('creating', 'ready', 'create_failed', 'delete_failed')) not valid;
