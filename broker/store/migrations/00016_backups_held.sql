-- +goose Up

-- A backup that its instance's server holds, such as a snapshot: it has no object, and only that
-- server can restore it.
alter table backups add column held boolean not null default false;

-- +goose Down
alter table backups drop column held;
