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

-- name: DeleteActivations :execrows
-- A batch of a namespace's activations.
delete from activations where activations.namespace = @namespace and activations.id in (
    select a.id from activations a where a.namespace = @namespace limit @batch);
