-- +goose Up

-- A backup is a copy of an instance's data in the object store. It outlives its
-- instance, so that it does not refer to it. With its manifest in the object store
-- it could be found again if this table were lost.
create table backups (
    id              text primary key,
    instance_id     text not null, -- the platform's ID of the instance that was copied
    resource_name   text not null, -- the safe name of its resource, which names its objects and its key
    platform        text not null,
    organization_id text not null,
    space_id        text not null,
    namespace       text not null,
    cluster_id      text not null,
    service_id      text not null,
    plan_id         text not null,
    backend         text not null,
    backend_type    text not null,
    server          text not null,
    parameters      json not null,
    name            text not null default '', -- the user's
    origin          text not null check (origin in ('schedule', 'user', 'operator', 'clone')),
    -- pending: being made, or about to be; deleting: its objects are being removed.
    state           text not null default 'pending' check (state in ('pending', 'ready', 'failed', 'deleting')),
    object          text not null, -- its key in the object store
    contents        json not null default '{}',
    raw_bytes       bigint not null default 0,
    stored_bytes    bigint not null default 0,
    sha256          text not null default '', -- of what is stored
    description     text not null default '', -- for the user
    last_error      text not null default '', -- for the operator
    created_at      timestamptz not null default now(),
    finished_at     timestamptz,
    expires_at      timestamptz, -- null while its instance exists, whose plan says what is kept
    verified_at     timestamptz, -- when it was last restored to prove it
    verify_error    text not null default '' -- why that last failed
);
create index backups_by_resource on backups (resource_name, created_at desc, id desc);
create index backups_by_instance on backups (instance_id, created_at desc, id desc);
create unique index backups_one_per_name on backups (resource_name, name) where name <> '' and state in ('pending', 'ready') and expires_at is null;
create index backups_expiring on backups (expires_at) where expires_at is not null and state in ('ready', 'failed');
create index backups_deleting on backups (id) where state = 'deleting';
create index backups_by_plan on backups (plan_id, created_at desc);

-- A copy is the work on a backup: making it, restoring it into an instance, or
-- restoring it into a scratch instance to verify it. It may take hours. Whoever works
-- on it holds locks; a replica that finds it running without them begins it anew.
create table copies (
    seq           bigint generated always as identity not null,
    id            text primary key,
    kind          text not null check (kind in ('backup', 'restore', 'verify')),
    backup_id     text not null references backups (id) on delete cascade,
    instance_id   text not null, -- the one that is read or written; empty: a scratch instance
    resource_name text not null, -- the safe name of its resource
    server        text not null, -- the key of the instance's server
    -- held: its operation has not prepared the instance yet; unclean: a restore failed
    -- half-way, and its operation has to empty the instance.
    state         text not null check (state in ('held', 'waiting', 'running', 'unclean', 'succeeded', 'failed', 'cancelled')),
    attempts      integer not null default 0,
    done_bytes    bigint not null default 0,
    total_bytes   bigint not null default 0, -- 0: unknown
    description   text not null default '', -- for the user
    last_error    text not null default '', -- for the operator
    due_at        timestamptz not null default now(),
    created_at    timestamptz not null default now(),
    finished_at   timestamptz
);
create index copies_due on copies (server, due_at) where state in ('waiting', 'running');
create index copies_by_backup on copies (backup_id);
create index copies_unfinished_by_resource on copies (resource_name) where finished_at is null;
create index copies_unfinished on copies (kind) where finished_at is null;
create index copies_finished on copies (finished_at) where finished_at is not null;

-- The copy that an operation waits for. An older replica does not know the column, and
-- must not end the operation before its data is there.
alter table operations add column copy_id text not null default '';
create index operations_by_copy on operations (copy_id) where copy_id <> '';
-- +goose StatementBegin
create function operations_await_copy() returns trigger language plpgsql as $$
begin
    if not exists (select 1 from copies where id = new.copy_id and state = 'succeeded') then
        raise exception 'operation % waits for copy %, which an older release of the broker does not know', new.id, new.copy_id;
    end if;
    return new;
end
$$;
-- +goose StatementEnd
create trigger operations_await_copy before update of state on operations for each row
    when (new.state = 'succeeded' and new.copy_id <> '')
    execute function operations_await_copy();

-- +goose Down
drop trigger operations_await_copy on operations;
drop function operations_await_copy;
alter table operations drop column copy_id;
drop table copies, backups;
