-- +goose Up

-- Whether the trigger knows the rule: a rule that is left of a trigger that was deleted is
-- unknown to one that is made again under its name.
alter table rules add column linked boolean not null default true;

-- +goose Down
alter table rules drop column linked;
