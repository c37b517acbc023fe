-- name: PutNamespace :execrows
-- No row if the namespace is ending.
insert into namespaces (name, limits, mounts) values ($1, $2, $3)
on conflict (name) do update set limits = excluded.limits, mounts = excluded.mounts, updated_at = now()
where namespaces.ending_at is null;

-- name: Namespace :one
select * from namespaces where name = $1;

-- name: EndNamespace :one
-- Refuses all requests from now on, and notifies the runtimes. Returns for how many seconds
-- the namespace has been ending; no row if it does not exist.
with ended as (
    update namespaces set ending_at = coalesce(ending_at, now()) where name = @name returning now() - ending_at as since
), locked_out as (delete from keys where namespace = @name)
select extract(epoch from since)::float8 as seconds from ended, pg_notify(@channel::text, @name);

-- name: DeleteNamespace :exec
-- With everything that refers to it. The runtimes are notified after the commit.
with deleted as (delete from namespaces where namespaces.name = @name), uncounted as (delete from usage where namespace = @name)
select from pg_notify(@channel::text, @name);

-- name: PutKey :execrows
-- No row if the namespace does not exist or is ending, or another one has a key of this name.
insert into keys (uuid, namespace, binding, hash, role)
select @uuid, n.name, @binding, @hash, @role from namespaces n where n.name = @namespace and n.ending_at is null
on conflict (binding) do update set uuid = excluded.uuid, hash = excluded.hash, role = excluded.role
where keys.namespace = excluded.namespace;

-- name: DeleteKey :exec
delete from keys where namespace = @namespace and binding = @binding;

-- name: Key :one
select binding, namespace, uuid, role, created_at from keys where namespace = @namespace and binding = @binding;

-- name: Keys :many
-- A batch of all keys, by name.
select binding, namespace, uuid, role from keys where binding > @after order by binding limit @batch;

-- name: Notify :exec
select pg_notify(@channel::text, @payload::text);

-- name: NamespaceNames :many
-- A batch of the names of all namespaces.
select name from namespaces where name > @after order by name limit @batch;
