-- name: ExpireActivations :execrows
-- A batch of the activations of some namespaces that are older than their plans keep them.
delete from activations where (namespace, id) in (
    select a.namespace, a.id from namespaces n join activations a on a.namespace = n.name
    where n.name = any(@names::text[]) and a.runtime is null
        and a.started_at < now() - make_interval(secs => (n.limits ->> 'retention_s')::float8)
    limit @batch);

-- name: ActiveNamespaces :many
-- Those of some namespaces that were called within so many seconds.
select n.name, (n.limits ->> 'activation_bytes')::bigint as activation_bytes from namespaces n
where n.name = any(@names::text[])
    and exists (select 1 from activations a where a.namespace = n.name and a.started_at > now() - make_interval(secs => @seconds::float8));

-- name: TrimActivations :execrows
-- The oldest activations of a namespace beyond so many bytes, each counted with what it takes besides.
delete from activations where activations.namespace = @namespace and activations.id in (
    select kept.id from (
        select a.id, sum(a.bytes + @overhead::int) over (order by a.started_at desc, a.id desc) as total
        from activations a where a.namespace = @namespace and a.runtime is null
    ) kept where kept.total > @bytes::bigint);

-- name: DeleteActivations :one
-- A batch of a namespace's activations: so many, and about so many bytes, at most. Whether
-- there are more. The four below are alike; rows that hold much are deleted one by one.
with part as (select a.id, a.bytes from activations a where a.namespace = @namespace limit @batch),
ranked as (select id, sum(bytes) over (order by id) - bytes as before from part),
gone as (
    delete from activations using ranked
    where activations.namespace = @namespace and activations.id = ranked.id and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from gone;

-- name: EmptyActions :one
with part as (select a.package, a.name, octet_length(a.code) + octet_length(a.parameters) as bytes from actions a where a.namespace = @namespace limit @batch),
ranked as (select package, name, sum(bytes) over (order by package, name) - bytes as before from part),
gone as (
    delete from actions using ranked
    where actions.namespace = @namespace and actions.package = ranked.package and actions.name = ranked.name and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from gone;

-- name: EmptyPackages :one
with part as (select a.name, octet_length(a.parameters) as bytes from packages a where a.namespace = @namespace limit @batch),
ranked as (select name, sum(bytes) over (order by name) - bytes as before from part),
gone as (
    delete from packages using ranked
    where packages.namespace = @namespace and packages.name = ranked.name and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from gone;

-- name: EmptyTriggers :one
with part as (select a.name, octet_length(a.parameters) as bytes from triggers a where a.namespace = @namespace limit @batch),
ranked as (select name, sum(bytes) over (order by name) - bytes as before from part),
gone as (
    delete from triggers using ranked
    where triggers.namespace = @namespace and triggers.name = ranked.name and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from gone;

-- name: EmptyRules :one
with part as (select a.name, octet_length(a.annotations::text) as bytes from rules a where a.namespace = @namespace limit @batch),
ranked as (select name, sum(bytes) over (order by name) - bytes as before from part),
gone as (
    delete from rules using ranked
    where rules.namespace = @namespace and rules.name = ranked.name and ranked.before < @bytes::bigint returning 1
)
select (count(*) < (select count(*) from part) or (select count(*) from part) = @batch)::bool as more from gone;
