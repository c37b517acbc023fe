-- name: Caller :one
-- The caller with a key (uuid, hash), with a token on behalf of a binding (binding,
-- namespace), or the namespace itself (namespace alone: web actions, feeds). Other parameters
-- are empty. No row if the key, the binding or the namespace was deleted.
with caller as (
    select k.namespace, k.binding, k.role from keys k where k.uuid = @uuid and k.hash = @hash
    union all
    select k.namespace, k.binding, k.role from keys k where k.binding = @binding and k.namespace = @namespace
    union all
    select @namespace, '', 'read_write' where @binding::text = ''
)
select c.namespace::text as namespace, c.binding::text as binding, c.role::text as role, n.limits, n.mounts
from caller c join namespaces n on n.name = c.namespace
where n.ending_at is null
limit 1;

-- name: Resolve :one
-- Caller, and in the same round trip the action to invoke. An action is in a package, in the
-- package that a binding binds (package p, provider b), or in the default package; found is
-- false if any of them is missing. Target is the namespace of the package or action, empty
-- for the caller's own. The caller of the query checks package_publish and provider_publish.
-- With bare, the parameters are omitted.
with caller as (
    select k.namespace, k.binding, k.role from keys k where k.uuid = @uuid and k.hash = @hash
    union all
    select k.namespace, k.binding, k.role from keys k where k.binding = @binding and k.namespace = @namespace
    union all
    select @namespace, '', 'read_write' where @binding::text = ''
)
select c.namespace::text as caller, c.binding::text as binding, c.role::text as role, n.limits, n.mounts,
    coalesce(p.namespace, '')::text as package_namespace, coalesce(p.publish, false)::bool as package_publish,
    coalesce(p.bound_namespace, '')::text as bound_namespace, coalesce(p.bound_name, '')::text as bound_name,
    (case when not @bare::bool then p.parameters end)::bytea as package_parameters, coalesce(b.publish, false)::bool as provider_publish,
    (case when not @bare::bool then b.parameters end)::bytea as provider_parameters,
    (a.name is not null)::bool as found,
    coalesce(a.namespace, '')::text as namespace, coalesce(a.package, '')::text as package, coalesce(a.name, '')::text as name,
    coalesce(a.version, '')::text as version, a.annotations, (case when not @bare::bool then a.parameters end)::bytea as parameters,
    coalesce(a.kind, '')::text as kind, coalesce(a.main, '')::text as main, coalesce(a.code_hash, '')::text as code_hash, a.components,
    coalesce(a.timeout_ms, 0)::int as timeout_ms, coalesce(a.memory_mb, 0)::int as memory_mb, coalesce(a.logs_mb, 0)::int as logs_mb
from caller c join namespaces n on n.name = c.namespace
left join packages p on p.namespace = coalesce(nullif(@target::text, ''), c.namespace) and p.name = @package::text
left join packages b on b.namespace = p.bound_namespace and b.name = p.bound_name and b.bound_name = ''
left join actions a on a.name = @name::text
    and a.namespace = coalesce(nullif(p.bound_namespace, ''), nullif(@target::text, ''), c.namespace)
    and a.package = coalesce(nullif(p.bound_name, ''), p.name, '')
    and (@package::text = '' or p.name is not null)
    and (p.bound_name is null or p.bound_name = '' or b.name is not null)
where n.ending_at is null
limit 1;

-- name: LockNamespace :one
-- Locks the namespace's entities against other changes until the transaction ends. No row if
-- the namespace is ending.
select limits from namespaces where name = $1 and ending_at is null for no key update;

-- name: Collection :one
-- The collection of the entity with this name, as the API spells it, or an empty string.
select coalesce(
    (select 'packages' from packages p where p.namespace = @namespace and p.name = @name),
    (select 'actions' from actions a where a.namespace = @namespace and a.package = '' and a.name = @name),
    (select 'triggers' from triggers t where t.namespace = @namespace and t.name = @name),
    (select 'rules' from rules r where r.namespace = @namespace and r.name = @name),
    '')::text;

-- name: CountEntities :one
select
    (select count(*) from actions a where a.namespace = @namespace) as actions,
    (select count(*) from packages p where p.namespace = @namespace) as packages,
    (select count(*) from triggers t where t.namespace = @namespace) as triggers,
    (select count(*) from rules r where r.namespace = @namespace) as rules;

-- name: PackageNamed :one
select * from packages where namespace = $1 and name = $2;

-- name: PutPackage :exec
insert into packages (namespace, name, version, publish, annotations, parameters, bound_namespace, bound_name, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (namespace, name) do update set version = excluded.version, publish = excluded.publish, annotations = excluded.annotations,
    parameters = excluded.parameters, bound_namespace = excluded.bound_namespace, bound_name = excluded.bound_name, updated_at = excluded.updated_at;

-- name: DeletePackage :exec
delete from packages where namespace = $1 and name = $2;

-- name: ListPackages :many
-- Newest first; with public only those that other namespaces may read.
select namespace, name, version, publish, annotations, bound_namespace, bound_name, updated_at from packages
where namespace = @namespace and (publish or not @public::bool)
order by updated_at desc, name limit @batch offset @skip;

-- name: CountPackages :one
select count(*) from packages where namespace = @namespace and (publish or not @public::bool);

-- name: Action :one
-- An action without its code.
select namespace, package, name, version, publish, annotations, parameters, kind, main, code_hash, components,
    timeout_ms, memory_mb, logs_mb, updated_at
from actions where namespace = $1 and package = $2 and name = $3;

-- name: ActionCode :one
select code from actions where namespace = @namespace and package = @package and name = @name and code_hash = @code_hash;

-- name: PutAction :exec
-- Keeps the stored code unless with_code.
insert into actions (namespace, package, name, version, publish, annotations, parameters, kind, main, code, code_hash, components,
    timeout_ms, memory_mb, logs_mb, updated_at)
values (@namespace, @package, @name, @version, @publish, @annotations, @parameters, @kind, @main, @code, @code_hash, @components,
    @timeout_ms, @memory_mb, @logs_mb, @updated_at)
on conflict (namespace, package, name) do update set version = excluded.version, publish = excluded.publish,
    annotations = excluded.annotations, parameters = excluded.parameters, kind = excluded.kind, main = excluded.main,
    code = case when @with_code::bool then excluded.code else actions.code end, code_hash = excluded.code_hash,
    components = excluded.components, timeout_ms = excluded.timeout_ms,
    memory_mb = excluded.memory_mb, logs_mb = excluded.logs_mb, updated_at = excluded.updated_at;

-- name: DeleteAction :exec
delete from actions where namespace = $1 and package = $2 and name = $3;

-- name: DeleteActionsOfPackage :many
delete from actions where namespace = $1 and package = $2 returning annotations, code_hash;

-- name: ListActions :many
-- Newest first, of all packages, or with packaged of one. The columns are those of Action, without the parameters.
select namespace, package, name, version, publish, annotations, ''::bytea as parameters, kind, main, code_hash, components,
    timeout_ms, memory_mb, logs_mb, updated_at from actions
where namespace = @namespace and (package = @package or not @packaged::bool)
order by updated_at desc, package, name limit @batch offset @skip;

-- name: CountActions :one
select count(*) from actions where namespace = @namespace and (package = @package or not @packaged::bool);

-- name: CodeInUse :one
-- Whether an action of any namespace has this code.
select exists (select 1 from actions where code_hash = $1);

-- name: UnusedCode :many
-- The given hashes of code that no action of any namespace has.
select h.hash::text from (select unnest(@hashes::text[]) as hash) h
where not exists (select 1 from actions a where a.code_hash = h.hash);

-- name: Trigger :one
select * from triggers where namespace = $1 and name = $2;

-- name: PutTrigger :exec
insert into triggers (namespace, name, version, publish, annotations, parameters, updated_at)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (namespace, name) do update set version = excluded.version, publish = excluded.publish, annotations = excluded.annotations,
    parameters = excluded.parameters, updated_at = excluded.updated_at;

-- name: DeleteTrigger :exec
delete from triggers where namespace = $1 and name = $2;

-- name: ListTriggers :many
select namespace, name, version, publish, annotations, updated_at from triggers
where namespace = @namespace order by updated_at desc, name limit @batch offset @skip;

-- name: CountTriggers :one
select count(*) from triggers where namespace = $1;

-- name: RulesOfTrigger :many
select * from rules where namespace = $1 and trigger = $2 and linked order by name;

-- name: DeleteRulesOfTrigger :exec
delete from rules where namespace = $1 and trigger = $2 and linked;

-- name: UnlinkRules :exec
-- A new trigger starts without rules. A rule of a deleted trigger with its name is linked to
-- it when the rule is activated or updated.
update rules set active = false, linked = false where namespace = $1 and trigger = $2;

-- name: Rule :one
-- A rule, in force if it is active and its trigger exists.
select sqlc.embed(r), (r.active and t.name is not null)::bool as in_force, (t.name is not null)::bool as has_trigger
from rules r left join triggers t on t.namespace = r.namespace and t.name = r.trigger
where r.namespace = $1 and r.name = $2;

-- name: PutRule :exec
insert into rules (namespace, name, version, publish, annotations, trigger, action_namespace, action_package, action_name, active, updated_at, linked)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
on conflict (namespace, name) do update set version = excluded.version, publish = excluded.publish, annotations = excluded.annotations,
    trigger = excluded.trigger, action_namespace = excluded.action_namespace, action_package = excluded.action_package,
    action_name = excluded.action_name, active = excluded.active, updated_at = excluded.updated_at, linked = excluded.linked;

-- name: SetRuleActive :exec
update rules set active = $3, linked = true where namespace = $1 and name = $2;

-- name: DeleteRule :exec
delete from rules where namespace = $1 and name = $2;

-- name: ListRules :many
select sqlc.embed(r), (r.active and t.name is not null)::bool as in_force
from rules r left join triggers t on t.namespace = r.namespace and t.name = r.trigger
where r.namespace = @namespace order by r.updated_at desc, r.name limit @batch offset @skip;

-- name: CountRules :one
select count(*) from rules where namespace = $1;
