-- +goose Up

-- The server of the plan's backend that the instance is on, by its name in the
-- catalog. A backend that does not list its servers has one of the name default.
alter table instances add column server text not null default 'default';
create index instances_by_server on instances (plan_id, server);

-- +goose Down
drop index instances_by_server;
alter table instances drop column server;
