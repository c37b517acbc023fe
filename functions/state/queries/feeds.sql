-- name: CreateFeed :execrows
-- No row if the trigger already has a feed or does not exist, or the namespace is ending.
insert into feeds (id, owner, namespace, trigger, kind, settings, sealed, due_at)
select @id, t.id, t.namespace, t.name, @kind, @settings, @sealed, sqlc.narg(due_at)
from triggers t join namespaces n on n.name = t.namespace
where t.namespace = @namespace and t.name = @trigger and n.ending_at is null
on conflict (owner) where removing_at is null do nothing;

-- name: FeedOf :one
-- A trigger's feed.
select f.* from feeds f join triggers t on t.id = f.owner
where t.namespace = @namespace and t.name = @trigger and f.removing_at is null;

-- name: UpdateFeed :execrows
-- Stores the owner's changes and activates the feed; no row if it changed in the meantime.
update feeds set settings = @settings, sealed = @sealed, due_at = sqlc.narg(due_at),
    active = true, reason = null, trouble = null, version = version + 1, changed_at = now()
where id = @id and version = @version and removing_at is null;

-- name: StopFeed :execrows
-- A pause by the owner (no reason), or a stop by the runtime; no row if this version does not run.
update feeds set active = false, reason = sqlc.narg(reason), trouble = null, due_at = null,
    version = version + 1, changed_at = now()
where id = @id and version = @version and active and removing_at is null;

-- name: RemoveFeed :execrows
-- Ends the feed; its consumer remains to be removed.
update feeds set active = false, removing_at = now(), remove_at = now(), due_at = null, version = version + 1
where id = @id and removing_at is null;

-- name: DropFeed :exec
delete from feeds where id = @id;

-- name: TroubleFeed :exec
-- Why the feed does not run at the moment; null if it runs.
update feeds set trouble = sqlc.narg(trouble), trouble_at = now() where id = @id and version = @version;

-- name: FeedRuns :one
-- Locks a feed that runs in this version against its owner's changes, until the transaction ends.
select f.id from feeds f join namespaces n on n.name = f.namespace
where f.id = @id and f.version = @version and f.active and f.owner is not null and f.removing_at is null and n.ending_at is null
for share of f;

-- name: MessageFeeds :many
-- The feeds that runtimes listen for; limits differ after a change of the plan.
select f.id, f.version, n.updated_at::text as limits from feeds f join namespaces n on n.name = f.namespace
where f.kind = 'nats' and f.active and f.owner is not null and f.removing_at is null and n.ending_at is null;

-- name: MessageFeed :one
-- What a listener needs.
select sqlc.embed(f), n.limits from feeds f join namespaces n on n.name = f.namespace
where f.id = @id and f.version = @version and f.active and f.owner is not null and f.removing_at is null and n.ending_at is null;

-- name: DueFeeds :many
-- Locks a batch of due feeds, except those of some namespaces.
select f.* from feeds f join namespaces n on n.name = f.namespace
where f.active and f.owner is not null and f.removing_at is null and n.ending_at is null
    and f.due_at <= @now and f.namespace <> all (@without::text[])
order by f.due_at limit @batch
for update of f skip locked;

-- name: AdvanceFeed :exec
-- Sets the next due time after one was taken; null stops the feed, for the given reason.
update feeds set due_at = sqlc.narg(due_at), active = sqlc.narg(due_at)::timestamptz is not null,
    reason = sqlc.narg(reason),
    changed_at = case when sqlc.narg(due_at)::timestamptz is null then now() else changed_at end
where id = @id;

-- name: TakeFire :exec
insert into feed_fires (feed, due_at, holder, lease_until)
values (@feed, @due_at, @holder, now() + make_interval(secs => @lease::float8));

-- name: LapsedFires :many
-- Takes over a batch of fires whose runtime did not renew their leases.
update feed_fires l set holder = @holder, lease_until = now() + make_interval(secs => @lease::float8)
from feeds f
where f.id = l.feed and (l.feed, l.due_at) in (
    select c.feed, c.due_at from feed_fires c join feeds g on g.id = c.feed
    where c.lease_until < now() and g.namespace <> all (@without::text[])
    order by c.lease_until limit @batch for update of c skip locked)
returning l.due_at as fire_due_at, sqlc.embed(f);

-- name: HoldFires :exec
update feed_fires l set lease_until = now() + make_interval(secs => @lease::float8)
from (select unnest(@feeds::uuid[]) as feed, unnest(@due_at::timestamptz[]) as due_at) h
where l.feed = h.feed and l.due_at = h.due_at and l.holder = @holder;

-- name: EndFire :execrows
-- No row if another runtime has taken it over.
delete from feed_fires where feed = @feed and due_at = @due_at and holder = @holder;

-- name: ReleaseFire :exec
-- Lets other runtimes take it over immediately.
update feed_fires set lease_until = now() where feed = @feed and due_at = @due_at and holder = @holder;

-- name: NextFire :one
-- The next due time, in seconds since 1970, and the seconds until the first lease ends; infinity if there are none.
select coalesce((select extract(epoch from min(f.due_at)) from feeds f where f.active and f.removing_at is null), 'infinity')::float8 as due,
    coalesce((select extract(epoch from min(l.lease_until) - now()) from feed_fires l), 'infinity')::float8 as lease_ends;

-- name: FeedToRemove :one
-- Takes a feed to remove, for as long as an attempt may last.
update feeds set removing_at = coalesce(feeds.removing_at, now()), active = false, due_at = null,
    remove_at = now() + make_interval(secs => @attempt::float8), version = feeds.version + 1
where feeds.id = (
    select f.id from feeds f left join namespaces n on n.name = f.namespace
    where (f.removing_at is not null or f.owner is null or n.ending_at is not null)
        and coalesce(f.remove_at, '-infinity') <= now()
    limit 1 for update of f skip locked)
returning *;

-- name: NextRemoval :one
-- The seconds until a feed must be removed; infinity if there are none.
select coalesce(extract(epoch from min(coalesce(f.remove_at, now())) - now()), 'infinity')::float8 as seconds
from feeds f left join namespaces n on n.name = f.namespace
where f.removing_at is not null or f.owner is null or n.ending_at is not null;

-- name: CountFeeds :one
-- The number of a namespace's feeds, including those that are being removed.
select count(*) from feeds where namespace = @namespace;
