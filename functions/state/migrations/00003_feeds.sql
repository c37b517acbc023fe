-- +goose Up

-- A feed fires a trigger: by the clock (alarm, interval, once) or for each message
-- of a queue (nats).
create table feeds (
    id         uuid primary key,
    -- null: the trigger is gone, perhaps with its namespace, and what the feed has
    -- outside of here is still to be removed.
    owner      uuid references triggers (id) on delete set null,
    namespace  text not null,
    trigger    text not null,
    kind       text not null check (kind in ('alarm', 'interval', 'once', 'nats')),
    settings   json not null,
    sealed     bytea not null, -- the trigger's payload, or a queue's credentials
    -- Raised with every change by its owner: who runs an older version stops.
    version    bigint not null default 1,
    active     boolean not null default true,
    changed_at timestamptz not null default now(), -- when active became what it is
    reason     json,        -- why it is not active, where its owner did not say so
    -- What kept it from running, and when a runtime last saw that.
    trouble    text,
    trouble_at timestamptz,
    due_at     timestamptz, -- when it fires next; null: by no clock
    -- Since when it is being removed, and when that is tried again.
    removing_at timestamptz,
    remove_at   timestamptz
);
create unique index feeds_by_owner on feeds (owner) where removing_at is null;
create index feeds_by_trigger on feeds (namespace, trigger);
create index feeds_due on feeds (due_at) where active and removing_at is null;
create index feeds_removing on feeds (remove_at) where removing_at is not null or owner is null;

-- A fire is one due time of a feed that a runtime has taken and not yet finished.
-- It is taken over by another runtime when the lease ends.
create table feed_fires (
    feed        uuid not null references feeds (id) on delete cascade,
    due_at      timestamptz not null,
    holder      uuid not null, -- the runtime
    lease_until timestamptz not null,
    primary key (feed, due_at)
);
create index feed_fires_leases on feed_fires (lease_until);
create index feed_fires_holders on feed_fires (holder);

-- Runtimes hear of every change but those that they make themselves when feeds fire.
-- +goose StatementBegin
create function feed_changed() returns trigger language plpgsql as $$
begin
    perform pg_notify('functions_feeds_changed', new.namespace);
    return null;
end $$;
-- +goose StatementEnd
create trigger feed_changed after insert or update of version, owner on feeds
    for each row execute function feed_changed();

-- +goose Down
drop table feed_fires, feeds;
drop function feed_changed;
