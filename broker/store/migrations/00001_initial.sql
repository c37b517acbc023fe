-- +goose Up

-- An instance exists from the moment its provision is accepted until its
-- deprovision succeeded. What is in progress on it is the unfinished row in
-- operations, not a status here. What platforms send is kept as json, not jsonb:
-- jsonb refuses some of what JSON allows (\u0000, huge exponents).
create table instances (
    id                  text primary key,
    platform            text not null,
    service_id          text not null,
    plan_id             text not null,
    organization_id     text not null,
    space_id            text not null,
    context             json not null,
    parameters          json not null,
    maintenance_version text not null,
    -- creating: accepted, never ready so far; ready; create_failed: cleaned up, or
    -- to be by a deprovision; delete_failed: part of it may be gone.
    status              text not null check (status in ('creating', 'ready', 'create_failed', 'delete_failed')),
    -- What the backend's keeper has to tell the user, such as a limit reached.
    condition           text not null default '',
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now()
);
create index instances_by_plan on instances (plan_id, id);

create table bindings (
    id             text primary key,
    instance_id    text not null references instances (id),
    platform       text not null,
    service_id     text not null,
    plan_id        text not null,
    app_id         text not null,
    bind_resource  json not null,
    context        json not null,
    parameters     json not null,
    predecessor_id text not null default '',
    -- Network addresses of the answer (OSB, "Endpoint Object"); no secrets. The
    -- credentials are in the credential store.
    endpoints      json not null default '[]',
    status         text not null check (status in ('creating', 'ready', 'create_failed', 'delete_failed')),
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now()
);
create index bindings_by_instance on bindings (instance_id, id);

create table operations (
    seq                 bigint generated always as identity not null,
    id                  text primary key,
    kind                text not null check (kind in ('provision', 'update', 'deprovision', 'bind', 'unbind')),
    platform            text not null,
    instance_id         text not null,
    binding_id          text not null default '', -- empty for the instance's own verbs
    service_id          text not null,
    plan_id             text not null,            -- the target plan of an update
    parameters          json not null default '{}', -- the target parameters of an update
    maintenance_version text not null default '',  -- the target version of an update
    context             json not null default '{}', -- the target context of an update
    state               text not null default 'in progress' check (state in ('in progress', 'succeeded', 'failed')),
    -- undoing: the work failed for good or was cancelled and is being removed.
    phase               text not null default 'doing' check (phase in ('doing', 'undoing')),
    -- Why it failed: rejected (the user's to mend), failed, timed_out,
    -- cancelled (the client stopped waiting), superseded (by a delete).
    outcome             text not null default '' check (outcome in ('', 'succeeded', 'rejected', 'failed', 'timed_out', 'cancelled', 'superseded')),
    description         text not null default '', -- for the user
    last_error          text not null default '', -- for the operator, scrubbed of secrets
    usable              boolean not null default true, -- the instance, after a failed update or deprovision
    attempts            integer not null default 0,
    job_id              bigint not null default 0,
    request_id          text not null default '',
    originating         json,
    created_at          timestamptz not null default now(),
    deadline            timestamptz not null,
    finished_at         timestamptz
);
create unique index operations_one_per_instance on operations (instance_id)
    where state = 'in progress' and binding_id = '';
create unique index operations_one_per_binding on operations (binding_id)
    where state = 'in progress' and binding_id <> '';
create index operations_unfinished_by_instance on operations (instance_id) where state = 'in progress';
create index operations_by_resource on operations (instance_id, binding_id, seq desc);
create index operations_by_seq on operations (seq desc);
create index operations_finished on operations (finished_at) where state <> 'in progress';

-- Who changed what and when, and how it ended. Never parameters or secrets.
create table audit (
    seq          bigint generated always as identity primary key,
    at           timestamptz not null default now(),
    platform     text not null,
    originating  json,
    request_id   text not null,
    action       text not null, -- provision, update, …, forget
    event        text not null check (event in ('accepted', 'succeeded', 'failed', 'cancelled')),
    instance_id  text not null,
    binding_id   text not null default '',
    operation_id text not null default '',
    service_id   text not null default '',
    plan_id      text not null default '',
    outcome      text not null default ''
);
create index audit_by_instance on audit (instance_id, seq);

-- +goose Down
drop table audit, operations, bindings, instances;
