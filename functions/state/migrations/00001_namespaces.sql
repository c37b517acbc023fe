-- +goose Up

-- A namespace is an instance. It exists from its provision until its deprovision
-- has removed all that belongs to it. All of a namespace is here and nothing in a
-- runtime's memory, so that one that nobody calls costs nothing.
create table namespaces (
    name       text primary key, -- services.InstanceName: 26 characters of [a-z2-7]
    limits     json not null,    -- Limits
    mounts     json not null,    -- []Mount
    -- Since when it is being deprovisioned: no key lets in any more, no feed fires,
    -- and the runtimes let go of what they hold outside of here.
    ending_at  timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- A key is a binding. Who calls says "uuid:key"; of the key only its SHA-256 is
-- here. 64 random characters need no slower hash.
create table keys (
    uuid       uuid primary key,
    namespace  text not null references namespaces (name) on delete cascade,
    binding    text not null unique, -- services.BindingName
    hash       bytea not null check (length(hash) = 32),
    role       text not null check (role in ('read_write', 'invoke')),
    created_at timestamptz not null default now()
);
create index keys_by_namespace on keys (namespace);

-- +goose Down
drop table keys, namespaces;
