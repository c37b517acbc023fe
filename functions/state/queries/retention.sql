-- name: ExpireActivations :execrows
-- A batch of activations of some namespaces beyond their plans' retention.
delete from activations where (namespace, id) in (
    select a.namespace, a.id from namespaces n join activations a on a.namespace = n.name
    where n.name = any(@names::text[]) and a.runtime is null
        and a.started_at < now() - make_interval(secs => (n.limits ->> 'retention_s')::float8)
    limit @batch);

-- name: ActiveNamespaces :many
-- The given namespaces that were called within some seconds.
select n.name, (n.limits ->> 'activation_bytes')::bigint as activation_bytes from namespaces n
where n.name = any(@names::text[])
    and exists (select 1 from activations a where a.namespace = n.name and a.started_at > now() - make_interval(secs => @seconds::float8));

-- name: TrimActivations :execrows
-- The oldest activations of a namespace beyond a number of bytes, counting an overhead for each.
delete from activations where activations.namespace = @namespace and activations.id in (
    select newest.id from (
        select a.id, sum(a.bytes + @overhead::int) over (order by a.started_at desc, a.id desc) as total
        from activations a where a.namespace = @namespace and a.runtime is null
    ) newest where newest.total > @bytes::bigint);

-- name: DeleteActivations :one
-- A batch of a namespace's activations, limited in rows and roughly in bytes. Returns whether
-- there are more. The four queries below are alike; large rows are deleted one by one.
with part as (select a.id, a.bytes from activations a where a.namespace = @namespace limit @batch),
ranked as (select id, sum(bytes) over (order by id) - bytes as before from part),
deleted as (
    delete from activations using ranked
    where activations.namespace = @namespace and activations.id = ranked.id and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from deleted;

-- name: EmptyActions :one
with part as (select a.package, a.name, octet_length(a.code) + octet_length(a.parameters) as bytes from actions a where a.namespace = @namespace limit @batch),
ranked as (select package, name, sum(bytes) over (order by package, name) - bytes as before from part),
deleted as (
    delete from actions using ranked
    where actions.namespace = @namespace and actions.package = ranked.package and actions.name = ranked.name and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from deleted;

-- name: EmptyPackages :one
with part as (select a.name, octet_length(a.parameters) as bytes from packages a where a.namespace = @namespace limit @batch),
ranked as (select name, sum(bytes) over (order by name) - bytes as before from part),
deleted as (
    delete from packages using ranked
    where packages.namespace = @namespace and packages.name = ranked.name and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from deleted;

-- name: EmptyTriggers :one
with part as (select a.name, octet_length(a.parameters) as bytes from triggers a where a.namespace = @namespace limit @batch),
ranked as (select name, sum(bytes) over (order by name) - bytes as before from part),
deleted as (
    delete from triggers using ranked
    where triggers.namespace = @namespace and triggers.name = ranked.name and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from deleted;

-- name: EmptyRules :one
with part as (select a.name, octet_length(a.annotations::text) as bytes from rules a where a.namespace = @namespace limit @batch),
ranked as (select name, sum(bytes) over (order by name) - bytes as before from part),
deleted as (
    delete from rules using ranked
    where rules.namespace = @namespace and rules.name = ranked.name and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from deleted;
