-- +goose Up

-- The class of the condition, for metrics: over_quota, inaccessible. A release that
-- does not know it leaves it empty.
alter table instances add column condition_reason text not null default '';
create index instances_with_condition on instances (plan_id, server, condition_reason) where condition_reason <> '';

-- +goose Down
drop index instances_with_condition;
alter table instances drop column condition_reason;
