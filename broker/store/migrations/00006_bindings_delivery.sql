-- +goose Up

-- How the binding's credentials get to its application, as it was when the binding
-- was made: what was put elsewhere has to be withdrawn there.
alter table bindings add column delivery text not null default 'inline';

-- +goose Down
alter table bindings drop column delivery;
