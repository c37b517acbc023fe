-- +goose Up

-- The backup that an incremental one builds on. That stays in the object store as long as this
-- row exists, even if it is being deleted itself.
alter table backups add column base_id text not null default '';
create index backups_by_base on backups (base_id) where base_id <> '';

-- +goose Down
drop index backups_by_base;
alter table backups drop column base_id;
