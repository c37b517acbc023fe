-- name: BeginActivations :batchexec
-- Recorded before the caller gets its answer. No row if the namespace was deleted.
insert into activations (namespace, id, name, path, version, subject, cause, runtime, started_at)
select n.name, @id, @name, @path, @version, @subject, @cause, @runtime, @started_at
from namespaces n where n.name = @namespace
on conflict (namespace, id) do nothing;

-- name: EndActivations :batchexec
-- Replaces what BeginActivations or EndAbandoned recorded.
insert into activations (namespace, id, name, path, version, subject, cause, started_at, ended_at, duration_ms, status, result, logs, annotations, bytes)
select n.name, @id, @name, @path, @version, @subject, @cause, @started_at, @ended_at, @duration_ms, @status, @result, @logs, @annotations, @bytes
from namespaces n where n.name = @namespace
on conflict (namespace, id) do update set runtime = null, started_at = excluded.started_at, ended_at = excluded.ended_at,
    duration_ms = excluded.duration_ms, status = excluded.status, result = excluded.result, logs = excluded.logs,
    annotations = excluded.annotations, bytes = excluded.bytes;

-- name: Activation :one
select * from activations where namespace = $1 and id = $2 and runtime is null;

-- name: ListActivations :many
-- Newest first; with docs, including results and logs.
select namespace, id, name, path, version, subject, cause, runtime, started_at, ended_at, duration_ms, status,
    (case when @docs::bool then result else '' end)::bytea as result, (case when @docs::bool then logs else '' end)::bytea as logs,
    annotations, bytes
from activations
where namespace = @namespace and runtime is null and (path = @path or @path::text = '')
    and started_at >= @since and started_at <= @upto
order by started_at desc, id desc limit @batch offset @skip;

-- name: ActivationBytes :one
-- The size of the results and logs of a page.
select coalesce(sum(page.bytes), 0)::bigint from (
    select a.bytes from activations a
    where a.namespace = @namespace and a.runtime is null and (a.path = @path or @path::text = '')
        and a.started_at >= @since and a.started_at <= @upto
    order by a.started_at desc, a.id desc limit @batch offset @skip
) page;

-- name: CountActivations :one
select count(*) from activations
where namespace = @namespace and runtime is null and (path = @path or @path::text = '')
    and started_at >= @since and started_at <= @upto;

-- name: Seen :exec
-- A runtime reports that it is alive.
insert into runtimes (id) values ($1) on conflict (id) do update set seen_at = now();

-- name: Unseen :exec
-- A runtime reports that it ended.
delete from runtimes where id = $1;

-- name: EndAbandoned :execrows
-- Ends the activations of runtimes that did not report for some seconds.
update activations set runtime = null, ended_at = now(), duration_ms = 0, status = 3, result = @result, bytes = length(@result::bytea), logs = '[]',
    annotations = convert_to(json_build_array(json_build_object('key', 'path', 'value', namespace || '/' || path))::text, 'UTF8')
where (namespace, id) in (
    select a.namespace, a.id from activations a left join runtimes r on r.id = a.runtime
    where a.runtime is not null and (r.id is null or r.seen_at < now() - make_interval(secs => @seconds::float8))
    limit 1000 for update of a skip locked);

-- name: ForgetRuntimes :exec
delete from runtimes where seen_at < now() - make_interval(secs => @seconds::float8);

-- name: ShareUsage :exec
-- What this runtime admitted, by namespace.
insert into usage (namespace, runtime, minute, invocations, fires, running)
select u.namespace, @runtime, @minute, u.invocations, u.fires, u.running
from (select unnest(@namespaces::text[]) as namespace, unnest(@invocations::int[]) as invocations,
    unnest(@fires::int[]) as fires, unnest(@running::int[]) as running) u
on conflict (namespace, runtime) do update set minute = excluded.minute, invocations = excluded.invocations,
    fires = excluded.fires, running = excluded.running, seen_at = now();

-- name: OthersUsage :many
-- What the other runtimes admitted in the minute, and what runs in those that are alive.
select namespace,
    coalesce(sum(invocations) filter (where minute = @minute), 0)::int as invocations,
    coalesce(sum(fires) filter (where minute = @minute), 0)::int as fires,
    coalesce(sum(running) filter (where seen_at > now() - interval '5 seconds'), 0)::int as running
from usage where namespace = any(@namespaces::text[]) and runtime <> @runtime
group by namespace;

-- name: ForgetUsage :exec
delete from usage where seen_at < now() - interval '2 minutes';
