-- +goose Up

-- recover: an operator has an instance made anew whose server lost it. An older replica leaves it to
-- a newer one.
alter table operations drop constraint operations_kind_check;
alter table operations add constraint operations_kind_check
    check (kind in ('provision', 'update', 'deprovision', 'bind', 'unbind', 'retire', 'expire', 'recover'));

-- +goose Down
alter table operations drop constraint operations_kind_check;
alter table operations add constraint operations_kind_check
    check (kind in ('provision', 'update', 'deprovision', 'bind', 'unbind', 'retire', 'expire')) not valid;
