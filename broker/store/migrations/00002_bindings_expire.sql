-- +goose Up

-- Until when a binding's credentials are good, and by when they should be
-- replaced; null: for good. expired: revoked by the engine; the row stays until
-- the platform deletes the binding.
alter table bindings add column expires_at timestamptz, add column renew_before timestamptz;
alter table bindings drop constraint bindings_status_check;
alter table bindings add constraint bindings_status_check
    check (status in ('creating', 'ready', 'create_failed', 'delete_failed', 'expired'));
create index bindings_to_expire on bindings (expires_at) where status in ('ready', 'delete_failed');

-- +goose Down
drop index bindings_to_expire;
alter table bindings drop constraint bindings_status_check, drop column expires_at, drop column renew_before;
alter table bindings add constraint bindings_status_check
    check (status in ('creating', 'ready', 'create_failed', 'delete_failed')) not valid;
