-- +goose Up

-- A migration of its own: one that locks instances and operations would deadlock with replicas of
-- the release before, which end operations meanwhile. It takes its strongest lock first: one that it
-- raised later would deadlock with them, too.

-- The broker's own parameters of an instance's provision, such as restore_from.
alter table instances add column source json not null default '{}';

-- When the next scheduled backup of an instance is due.
create table backup_schedules (
    instance_id text primary key references instances (id) on update cascade on delete cascade,
    schedule    text not null, -- what next_at was computed from
    next_at     timestamptz not null
);
create index backup_schedules_by_time on backup_schedules (next_at);

-- +goose Down
alter table instances drop column source;
drop table backup_schedules;
