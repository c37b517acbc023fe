-- +goose Up

-- Packages, actions of the default package, triggers and rules of a namespace share
-- one space of names, as in OpenWhisk; whoever writes one locks the namespace's row
-- first (LockNamespace) and looks at all four.

-- Columns called parameters are sealed (Sealer): applications put credentials there.
-- What they call annotations is json and not jsonb: order and numbers stay as sent.
create table packages (
    namespace       text not null references namespaces (name) on delete cascade,
    name            text not null,
    version         text not null,
    publish         boolean not null, -- other namespaces may read, bind and invoke
    annotations     json not null,
    parameters      bytea not null,
    bound_namespace text not null default '', -- of what: not empty in a binding only
    bound_name      text not null default '',
    updated_at      timestamptz not null default now(),
    primary key (namespace, name)
);

create table actions (
    namespace   text not null references namespaces (name) on delete cascade,
    package     text not null, -- empty: the default package
    name        text not null,
    version     text not null,
    publish     boolean not null,
    annotations json not null,
    parameters  bytea not null,
    kind        text not null,
    main        text not null,
    code        bytea not null,  -- as it runs: what was base64 is decoded; empty in a sequence
    code_hash   text not null,   -- SHA-256 of code in hexadecimal; empty in a sequence
    components  text[] not null, -- of a sequence: /namespace[/package]/name
    timeout_ms  integer not null,
    memory_mb   integer not null,
    logs_mb     integer not null,
    updated_at  timestamptz not null default now(),
    primary key (namespace, package, name)
);
create index actions_by_code on actions (code_hash);
alter table actions alter column code set storage external; -- WebAssembly is read in one piece, and hot code is in memory

create table triggers (
    namespace   text not null references namespaces (name) on delete cascade,
    name        text not null,
    -- A trigger that was deleted and made again is another one.
    id          uuid not null unique default gen_random_uuid(),
    version     text not null,
    publish     boolean not null,
    annotations json not null,
    parameters  bytea not null,
    updated_at  timestamptz not null default now(),
    primary key (namespace, name)
);

-- A rule outlives its trigger and its action, and is inactive without a trigger.
create table rules (
    namespace        text not null references namespaces (name) on delete cascade,
    name             text not null,
    version          text not null,
    publish          boolean not null,
    annotations      json not null,
    trigger          text not null, -- of the same namespace
    action_namespace text not null,
    action_package   text not null,
    action_name      text not null,
    active           boolean not null,
    updated_at       timestamptz not null default now(),
    primary key (namespace, name)
);
create index rules_by_trigger on rules (namespace, trigger);

-- A runtime that was not seen for some time is dead.
create table runtimes (
    id      uuid primary key,
    seen_at timestamptz not null default now()
);

create table activations (
    namespace   text not null references namespaces (name) on delete cascade,
    id          uuid not null,
    -- What was activated: the name alone, and with its package in front.
    name        text not null,
    path        text not null,
    version     text not null,
    subject     text not null, -- who asked: a binding, or the namespace
    cause       uuid,
    -- Which runtime it runs in; null when it has ended, and only then the rest
    -- below is there and anybody sees it.
    runtime     uuid,
    started_at  timestamptz not null,
    ended_at    timestamptz, -- none in a trigger's
    duration_ms bigint,
    status      smallint not null default 0, -- 0 success, 1 application error, 2 developer error, 3 internal error
    result      bytea not null default '',   -- JSON
    logs        bytea not null default '',   -- JSON: an array of strings
    annotations bytea not null default '',   -- JSON: an array of {key, value}
    bytes       integer not null default 0,  -- of the three
    primary key (namespace, id)
);
create index activations_by_time on activations (namespace, started_at desc, id desc);
create index activations_by_path on activations (namespace, path, started_at desc, id desc);
create index activations_running on activations (runtime) where runtime is not null;

-- What each runtime admitted in the minute, so that limits hold for all of them
-- together. Worth nothing after a crash of the server.
create unlogged table usage (
    namespace   text not null,
    runtime     uuid not null,
    minute      bigint not null, -- since 1970
    invocations integer not null,
    fires       integer not null,
    running     integer not null,
    seen_at     timestamptz not null default now(),
    primary key (namespace, runtime)
);

-- +goose Down
drop table usage, activations, runtimes, rules, triggers, actions, packages;
