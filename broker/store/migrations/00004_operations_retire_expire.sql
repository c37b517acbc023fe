-- +goose Up

-- retire: a deprovision that keeps the data until kept_until; expire: an unbind
-- that nobody asked for. An older replica leaves both to a newer one.
alter table operations add column kept_until timestamptz;
alter table operations drop constraint operations_kind_check;
alter table operations add constraint operations_kind_check
    check (kind in ('provision', 'update', 'deprovision', 'bind', 'unbind', 'retire', 'expire'));

-- +goose Down
alter table operations drop constraint operations_kind_check, drop column kept_until;
alter table operations add constraint operations_kind_check
    check (kind in ('provision', 'update', 'deprovision', 'bind', 'unbind')) not valid;
