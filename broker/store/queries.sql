-- name: InsertInstance :execrows
-- Holds the locks that AwaitCreate and LockOrphan wait for. Where another instance has the resource that was made under this ID, this one's is made under a fresh one.
insert into instances (id, platform, service_id, plan_id, organization_id, space_id, context, parameters, maintenance_version, status, namespace, resource_id,
    backend, backend_type, source)
values ((select @id::text from pg_advisory_xact_lock(hashtextextended('creating/' || @id::text, 0)),
        pg_advisory_xact_lock_shared(hashtextextended('name/' || @safe_name::text, 0))),
    @platform, @service_id, @plan_id, @organization_id, @space_id, @context, @parameters, @maintenance_version, 'creating', @namespace,
    case when exists (select 1 from instances i where coalesce(nullif(i.resource_id, ''), i.id) = @id::text)
        or exists (select 1 from instances i where i.resource_name <> '' and i.resource_name = @safe_name::text) then @fresh::text else '' end,
    @backend, @backend_type, coalesce(sqlc.narg('source')::json, '{}'::json))
on conflict do nothing;

-- name: RenewInstance :exec
-- For a repeated create after one that failed and left nothing.
update instances set service_id = $2, plan_id = $3, organization_id = $4, space_id = $5, context = $6, parameters = $7,
    maintenance_version = $8, namespace = $9, backend = $10, backend_type = $11, source = $12, server = 'default', status = 'creating', condition = '', condition_reason = '', created_at = now(), updated_at = now()
where id = $1;

-- name: SetInstanceServer :exec
update instances set server = $2 where id = $1;

-- name: Instance :one
select * from instances where id = $1;

-- name: InstanceForUpdate :one
-- For the instance's own verbs: excludes them and binds from each other while one is being accepted.
select * from instances where id = $1 for update;

-- name: InstanceForShare :one
-- For binds and unbinds, which may be accepted side by side.
select * from instances where id = $1 for share;

-- name: InstanceForBind :one
-- InstanceForShare, unless the binding is ready: a platform that repeats a bind at every reconciliation must not cost a write.
select * from instances i where i.id = @id and not exists (select 1 from bindings b where b.id = @binding_id::text and b.status = 'ready') for share;

-- name: LockInstanceRow :exec
select 1 from instances where id = $1 for update;

-- name: SetInstanceStatus :exec
update instances set status = $2, updated_at = now() where id = $1;

-- name: SetInstanceUpdated :exec
update instances set plan_id = $2, parameters = $3, maintenance_version = $4, context = $5, status = 'ready', updated_at = now() where id = $1;

-- name: SetInstanceContext :exec
update instances set context = $2, updated_at = now() where id = $1;

-- name: SetConditions :exec
-- Writes only what has changed.
update instances set condition = new.condition, condition_reason = new.reason
from (select unnest(@ids::text[]) as id, unnest(@conditions::text[]) as condition, unnest(@reasons::text[]) as reason) as new
where instances.id = new.id and (instances.condition <> new.condition or instances.condition_reason <> new.reason);

-- name: CountConditions :many
-- backend is empty where an older release created the instance.
select service_id, plan_id, backend, server, condition_reason, count(*) as instances from instances where condition_reason <> '' and condition <> ''
group by service_id, plan_id, backend, server, condition_reason order by service_id, plan_id, backend, server, condition_reason;

-- name: SoftDeleteInstance :exec
-- Deletes the instance for the platform; its data stays.
update instances set id = @retained_id::text, status = 'kept', kept_until = @retained_until::timestamptz, condition = '', condition_reason = '',
    resource_id = coalesce(nullif(resource_id, ''), id), updated_at = now()
where id = @id;

-- name: RetainedInstances :many
-- The retained instances that had the ID on the platform, latest first.
select * from instances where kept_until is not null and (id = @id::text or left(id, length(@id::text) + 1) = @id::text || '@') order by id desc;

-- name: RestoreInstance :exec
-- Makes a retained instance available to its platform again.
update instances set id = @new_id::text, status = 'ready', kept_until = null, updated_at = now() where id = @id;

-- name: SetInstanceResource :exec
-- Gives an instance the resource of another one, with its parameters, version, server and backend.
update instances set resource_id = $2, parameters = $3, maintenance_version = $4, server = $5, backend = $6, backend_type = $7,
    resource_name = $8, condition = '', condition_reason = '', updated_at = now()
where id = $1;

-- name: ExpireRetained :exec
-- Ends the retention of an instance now.
update instances set kept_until = now(), updated_at = now() where id = $1;

-- name: RetainedInstancesDue :many
-- Instances whose retention has ended. After a failed deletion the next one waits for a while.
select i.id from instances i
where i.kept_until < now() and not exists (select 1 from operations o where o.instance_id = i.id
    and (o.state = 'in progress' or o.finished_at > now() - interval '10 minutes'))
order by i.kept_until limit 100;

-- name: DeleteInstance :exec
delete from instances where id = $1;

-- name: ReadyInstances :many
-- A batch of ready instances of some plans on a server, by key.
select * from instances where plan_id = any(@plan_ids::text[]) and backend in ('', @backend::text) and server = @server
    and id > @after and status = 'ready' order by id limit @batch;

-- name: ReadyBindings :many
-- A batch of ready bindings of some plans' instances on a server, by key.
select sqlc.embed(b), sqlc.embed(i) from bindings b join instances i on i.id = b.instance_id
where i.plan_id = any(@plan_ids::text[]) and i.backend in ('', @backend::text) and i.server = @server and i.status = 'ready' and b.status = 'ready' and b.id > @after
order by b.id limit @batch;

-- name: AddRound :exec
insert into rounds (name) values ($1) on conflict do nothing;

-- name: LockRound :one
-- The round's progress; no row if another replica holds it, or the next round is not due: so many seconds after the start of the last one.
select after from rounds
where name = @name and (@now::bool or after <> '' or began_at < now() - make_interval(secs => @every::float8))
for update skip locked;

-- name: AdvanceRound :exec
update rounds set after = @after, began_at = case when after = '' then now() else began_at end where name = @name;

-- name: ListInstances :many
-- By key. An empty filter, or null of a list, selects all.
select * from instances where id > @after
    and (@platform::text = '' or platform = @platform) and (@organization_id::text = '' or organization_id = @organization_id)
    and (@space_id::text = '' or space_id = @space_id)
    and (@service_ids::text[] is null or service_id = any(@service_ids)) and (@plan_ids::text[] is null or plan_id = any(@plan_ids))
    and (@backend::text = '' or backend = @backend and server = @server::text)
    and (@status::text = '' or status = @status) and (not @with_condition::bool or condition <> '')
order by id limit @batch;

-- name: PlansInUse :many
select service_id, plan_id, backend, backend_type, server, count(*) as instances from instances
group by service_id, plan_id, backend, backend_type, server order by service_id, plan_id, backend, backend_type, server;

-- name: RecordBackends :execrows
-- Records the backend of the plan for a batch of instances without one. It leaves locked rows to the next time.
update instances i set backend = p.backend, backend_type = p.backend_type
from (select unnest(@plan_ids::text[]) as plan_id, unnest(@backends::text[]) as backend, unnest(@backend_types::text[]) as backend_type) p
where i.plan_id = p.plan_id and i.id = any(array(
    select id from instances where backend = '' and plan_id = any(@plan_ids::text[]) limit @batch for update skip locked));

-- name: CountPlacements :many
-- How many instances of which plans each server has, except one instance; target is the plan to which an update changes them.
select i.server, i.plan_id, coalesce(o.plan_id, i.plan_id)::text as target_id, count(*) as instances
from instances i left join operations o on o.instance_id = i.id and o.binding_id = '' and o.state = 'in progress'
where i.plan_id = any(@plan_ids::text[]) and i.id <> @excluded_id::text
group by 1, 2, 3;

-- name: InsertBinding :exec
-- Fails (IsStale) if the ID is in use, so that the rest of its batch does not run. Holds the locks that AwaitCreate and LockOrphan wait for.
-- The row is younger than all operations on an earlier binding of the same ID, for which this transaction may have waited.
with inserted as (
    insert into bindings (id, instance_id, platform, service_id, plan_id, app_id, bind_resource, context, parameters, predecessor_id,
        expires_at, renew_before, delivery, status, created_at)
    values ((select @id::text from pg_advisory_xact_lock(hashtextextended('creating/' || @id::text, 0)),
            pg_advisory_xact_lock_shared(hashtextextended('name/' || @safe_name::text, 0))),
        @instance_id, @platform, @service_id, @plan_id, @app_id, @bind_resource, @context, @parameters, @predecessor_id,
        @expires_at, @renew_before, @delivery, 'creating', clock_timestamp())
    on conflict (id) do nothing returning 1
)
select case when count(*) = 0 then ('the row has changed meanwhile, so it is read again: ' || count(*))::int end from inserted;

-- name: AwaitCreate :exec
-- Waits until no transaction is about to create the instance or binding.
select pg_advisory_xact_lock(hashtextextended('creating/' || @id::text, 0));

-- name: LockOrphan :exec
-- Keeps other transactions from creating an instance or binding of that safe name until this one ends, and waits for those that are doing so.
select pg_advisory_xact_lock(hashtextextended('name/' || @safe_name::text, 0));

-- name: DeleteFailedBinding :exec
-- For a repeated bind after one that failed and left nothing.
delete from bindings where id = $1;

-- name: DeliveriesInUse :many
select delivery, count(*) as bindings from bindings group by delivery order by delivery;

-- name: Binding :one
select * from bindings where id = $1;

-- name: BindingForUpdate :one
select * from bindings where id = $1 for update;

-- name: BindingsOfInstance :many
select * from bindings where instance_id = $1 order by id;

-- name: ListBindings :many
-- By key. An empty filter, or null of a list, selects all; of_instance says that one of the instance's is not empty.
select * from bindings b where b.id > @after
    and (@platform::text = '' or b.platform = @platform) and (@instance_id::text = '' or b.instance_id = @instance_id)
    and (@service_ids::text[] is null or b.service_id = any(@service_ids)) and (@plan_ids::text[] is null or b.plan_id = any(@plan_ids))
    and (@status::text = '' or b.status = @status)
    and (not @of_instance::bool or exists (select 1 from instances i where i.id = b.instance_id
        and (@organization_id::text = '' or i.organization_id = @organization_id) and (@space_id::text = '' or i.space_id = @space_id)
        and (@backend::text = '' or i.backend = @backend and i.server = @server::text)))
order by b.id limit @batch;

-- name: SetBindingStatus :exec
update bindings set status = $2, updated_at = now() where id = $1;

-- name: SetBindingReady :exec
update bindings set status = 'ready', endpoints = $2, updated_at = now() where id = $1;

-- name: ExpiredBindings :many
-- After a failed revocation the next one waits for a while. The ID may have been that of an earlier binding.
select b.id, b.instance_id from bindings b
where b.expires_at < @now::timestamptz and b.status in ('ready', 'delete_failed') and not exists (select 1 from operations o
    where o.instance_id = b.instance_id and o.binding_id in ('', b.id)
      and (o.state = 'in progress' or o.kind = 'expire' and o.created_at >= b.created_at and o.finished_at > now() - interval '10 minutes'))
order by b.expires_at limit 100;

-- name: DeleteBinding :exec
-- Called once the binding's secrets are deleted.
with gone as (
    delete from bindings b where b.id = $1
    returning b.instance_id, b.id as binding_id, b.app_id, b.bind_resource, b.context, b.delivery
)
insert into forgotten (instance_id, binding_id, app_id, bind_resource, context, delivery, at)
select gone.*, clock_timestamp() from gone
on conflict (instance_id, binding_id) do update set app_id = excluded.app_id, bind_resource = excluded.bind_resource,
    context = excluded.context, delivery = excluded.delivery, at = excluded.at;

-- name: AddSecretDeletion :exec
-- Called once the secrets of a binding that stays are deleted.
insert into forgotten (instance_id, binding_id, app_id, bind_resource, context, delivery, at)
select b.instance_id, b.id, b.app_id, b.bind_resource, b.context, b.delivery, clock_timestamp() from bindings b where b.id = $1
on conflict (instance_id, binding_id) do update set app_id = excluded.app_id, bind_resource = excluded.bind_resource,
    context = excluded.context, delivery = excluded.delivery, at = excluded.at;

-- name: SecretDeletions :many
-- Bindings whose secrets were deleted before then, after the row with the given key.
select * from forgotten
where at < @before::timestamptz and (at, instance_id, binding_id) > (@at::timestamptz, @instance_id::text, @binding_id::text)
order by at, instance_id, binding_id limit @batch;

-- name: ClaimSecretDeletion :execrows
-- Affects no row if another replica has claimed it, or a newer binding of that ID was deleted meanwhile.
delete from forgotten where instance_id = $1 and binding_id = $2 and at = $3;

-- name: InsertOperation :exec
insert into operations (id, kind, platform, instance_id, binding_id, service_id, plan_id, parameters, maintenance_version, context,
    request_id, originating, deadline, job_id, kept_until, copy_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16);

-- name: SetOperationParameters :exec
-- How far a recovery is.
update operations set parameters = $2 where id = $1 and state = 'in progress';

-- name: SetOperationJob :exec
update operations set job_id = $2 where id = $1;

-- name: MakeJobAvailable :exec
-- For a job that is due soon, as River's own snoozing does: workers find it on time without a leader that schedules it.
update river_job set state = 'available' where id = $1 and state = 'scheduled';

-- name: SetFirstJob :exec
update operations set job_id = $2 where id = $1 and job_id = 0;

-- name: Operation :one
select * from operations where id = $1;

-- name: LastOperation :one
-- The latest operation on an instance (binding_id empty) or a binding.
select * from operations where instance_id = $1 and binding_id = $2 order by seq desc limit 1;

-- name: UnfinishedOperations :many
-- All unfinished operations on an instance and its bindings.
select * from operations where instance_id = $1 and state = 'in progress' order by seq;

-- name: ListOperations :many
-- Latest first. An empty filter, or null of a list, selects all; of_instance says that one of the instance's is not empty.
select * from operations o where o.seq < @before
    and (@state::text = '' or o.state = @state) and (@instance_id::text = '' or o.instance_id = @instance_id)
    and (@platform::text = '' or o.platform = @platform)
    and (@service_ids::text[] is null or o.service_id = any(@service_ids)) and (@plan_ids::text[] is null or o.plan_id = any(@plan_ids))
    and (not @of_instance::bool or exists (select 1 from instances i where i.id = o.instance_id
        and (@organization_id::text = '' or i.organization_id = @organization_id) and (@space_id::text = '' or i.space_id = @space_id)
        and (@backend::text = '' or i.backend = @backend and i.server = @server::text)))
order by o.seq desc limit @batch;

-- name: RetryOperation :one
-- Its phases' deadlines derive from created_at and deadline, so that both count from now.
update operations set state = 'in progress', phase = 'doing', outcome = '', description = '', attempts = 0, finished_at = null,
    usable = true, created_at = now(), deadline = $2
where id = $1 and state = 'failed'
returning *;

-- name: OperationAndInstance :one
select sqlc.embed(o), sqlc.embed(i) from operations o join instances i on i.id = o.instance_id where o.id = $1;

-- name: OperationPhase :one
select state, phase from operations where id = $1;

-- name: RecordAttempt :exec
update operations set description = $2, last_error = $3, attempts = $4 where id = $1 and state = 'in progress' and phase = $5;

-- name: DescribeOperation :exec
-- Says what an operation waits for. The description of one that is being undone says why.
update operations set description = @description where id = @id and state = 'in progress' and phase = 'doing' and description <> @description;

-- name: BeginUndo :one
update operations set phase = 'undoing', outcome = @outcome, description = @description, last_error = @last_error, attempts = 0
where id = @id and state = 'in progress' and phase = 'doing'
returning *;

-- name: PreemptOperation :execrows
-- Ends an unfinished create in favour of a delete.
update operations set state = 'failed', outcome = 'superseded', description = $2, finished_at = now()
where id = $1 and state = 'in progress';

-- name: FinishOperation :exec
-- Fails (IsStale) if the operation has been cancelled, preempted or finished meanwhile, so that the rest of its batch does not run.
with finished as (
    update operations set state = @state, outcome = @outcome, description = @description, last_error = @last_error, usable = @usable,
        finished_at = now()
    where id = @id and state = 'in progress' and phase = @phase returning 1
)
select case when count(*) = 0 then ('the row has changed meanwhile, so it is read again: ' || count(*))::int end from finished;

-- name: StuckOperations :many
-- Unfinished operations whose job has been running for some time, has ended, or does not exist.
select o.id, o.kind, o.instance_id, o.binding_id, o.job_id from operations o
left join river_job j on j.id = o.job_id
where o.state = 'in progress' and o.created_at < now() - interval '5 seconds'
  and (j.id is null or j.finalized_at is not null or (j.state = 'running' and j.attempted_at < now() - interval '5 seconds'))
order by o.seq limit 1000;

-- name: PruneOperations :execrows
-- A failed operation that left something behind stays for as long as its instance.
delete from operations where id = any(array(
    select o.id from operations o where o.state <> 'in progress' and o.finished_at < @before
      and (o.usable or (select i.id from instances i where i.id = o.instance_id) is null)
    limit @batch));

-- name: InsertAudit :exec
insert into audit (platform, originating, request_id, action, event, instance_id, binding_id, operation_id, service_id, plan_id, outcome, resource)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: ListAudit :many
-- Latest first. An empty filter selects all; an actor is a platform, or part of the identity that it or an operator gave.
select * from audit where seq < @before and at >= @since::timestamptz and at < @until::timestamptz
    and (@instance_id::text = '' or instance_id = @instance_id) and (@binding_id::text = '' or binding_id = @binding_id)
    and (@action::text = '' or action = @action)
    and (@actor::text = '' or platform = @actor or position(lower(@actor) in lower(originating::text)) > 0)
order by seq desc limit @batch;

-- name: PruneAudit :execrows
delete from audit where seq = any(array(select a.seq from audit a where a.at < @before limit @batch));

-- name: AuditOfInstance :many
select * from audit where instance_id = $1 order by seq;

-- name: LockInstance :one
-- Held until the transaction ends by an operation that excludes all others on the instance.
select pg_try_advisory_xact_lock(hashtextextended('instance/' || @instance_id::text, 0));

-- name: LockBinding :one
-- Held until the transaction ends by an operation on the binding; others may run on the instance's other bindings.
select pg_try_advisory_xact_lock_shared(hashtextextended('instance/' || @instance_id::text, 0))
   and pg_try_advisory_xact_lock(hashtextextended('binding/' || @binding_id::text, 0));

-- name: Notify :exec
select pg_notify(@channel, @payload);

-- name: CountUnfinished :many
select kind, count(*) as operations from operations where state = 'in progress' group by kind order by kind;

-- name: WasDeleted :one
-- Whether the platform once had the instance (binding_id empty) or binding deleted.
select exists (select 1 from audit where instance_id = $1 and binding_id = $2 and platform = $3
    and action in ('deprovision', 'retire', 'unbind') and event = 'succeeded');

-- name: DeleteBindingsOfInstance :exec
-- Called once the bindings' secrets are deleted.
with gone as (
    delete from bindings b where b.instance_id = $1
    returning b.instance_id, b.id as binding_id, b.app_id, b.bind_resource, b.context, b.delivery
)
insert into forgotten (instance_id, binding_id, app_id, bind_resource, context, delivery, at)
select gone.*, clock_timestamp() from gone
on conflict (instance_id, binding_id) do update set app_id = excluded.app_id, bind_resource = excluded.bind_resource,
    context = excluded.context, delivery = excluded.delivery, at = excluded.at;

-- name: AnyReadyBinding :one
-- A binding whose credentials must be in the credential store.
select b.* from bindings b
where b.status = 'ready' and not exists (select 1 from operations o where o.instance_id = b.instance_id and o.state = 'in progress')
limit 1;

-- name: InsertBackup :exec
insert into backups (id, instance_id, resource_name, platform, organization_id, space_id, namespace, cluster_id, service_id, plan_id,
    backend, backend_type, server, parameters, name, origin, object)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17);

-- name: ImportBackup :execrows
-- Affects no row if the state has the backup.
insert into backups (id, instance_id, resource_name, platform, organization_id, space_id, namespace, cluster_id, service_id, plan_id,
    backend, backend_type, server, parameters, name, origin, object, state, contents, raw_bytes, stored_bytes, sha256, base_id, created_at, finished_at, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 'ready', $18, $19, $20, $21, $22, @created_at, now(), sqlc.narg('expires_at'))
on conflict (id) do nothing;

-- name: Backup :one
select * from backups where id = $1;

-- name: BackupForShare :one
-- A backup that is restored must not be deleted: who marks it waits for this transaction.
select * from backups where id = $1 for share;

-- name: BackupsOfResource :many
-- Latest first.
select * from backups where resource_name = $1 and state <> 'deleting' order by created_at desc, id desc;

-- name: ReadyBackupsOfInstance :many
-- Those of an instance that may be deleted, by its ID on the platform. Latest first.
select * from backups where instance_id = $1 and state = 'ready' order by created_at desc, id desc limit 1000;

-- name: BackupByName :one
-- Without those of an earlier instance of the same ID.
select * from backups where resource_name = $1 and name = $2 and name <> '' and state in ('pending', 'ready') and expires_at is null;

-- name: CountBackupsOfResource :one
select count(*) from backups where resource_name = $1;

-- name: ListBackups :many
-- By ID, latest first. An empty filter, or null of a list, selects all.
select * from backups where id < @before
    and (@platform::text = '' or platform = @platform) and (@organization_id::text = '' or organization_id = @organization_id)
    and (@space_id::text = '' or space_id = @space_id) and (@instance_id::text = '' or instance_id = @instance_id)
    and (@service_ids::text[] is null or service_id = any(@service_ids)) and (@plan_ids::text[] is null or plan_id = any(@plan_ids))
    and (@backend::text = '' or backend = @backend and server = @server::text)
    and (@state::text = '' or state = @state) and (@origin::text = '' or origin = @origin)
order by id desc limit @batch;

-- name: FinishBackup :execrows
-- None of a backup that was deleted meanwhile, or whose base was.
update backups b set state = 'ready', contents = $2, raw_bytes = $3, stored_bytes = $4, sha256 = $5, object = $6, base_id = @base_id, finished_at = clock_timestamp(),
    description = '', last_error = ''
where b.id = $1 and b.state = 'pending' and (@base_id::text = '' or exists (select 1 from backups base where base.id = @base_id and base.state = 'ready'));

-- name: SetBackupHeld :exec
-- Before the server is asked to make it.
update backups set held = true where id = $1 and not held;

-- name: BackupIDs :many
-- Those of the IDs that exist.
select id from backups where id = any(@ids::text[]);

-- name: FailBackup :exec
-- Its row tells what failed for a while.
update backups set state = 'failed', description = $2, last_error = $3, finished_at = clock_timestamp(), expires_at = clock_timestamp() + interval '7 days'
where id = $1 and state = 'pending';

-- name: SetVerified :exec
update backups set verified_at = case when @error::text = '' then now() else verified_at end, verify_error = @error::text where id = @id;

-- name: MarkBackupsDeleting :exec
update backups set state = 'deleting' where id = any(@ids::text[]) and state <> 'deleting';

-- name: MarkBackupsExpired :execrows
update backups set state = 'deleting' where id = any(array(
    select id from backups where expires_at < now() and state in ('ready', 'failed') order by expires_at limit @batch for update skip locked));

-- name: ExpireBackupsOfResource :exec
-- Called at the end of the instance. Those that were purged are due already.
update backups set expires_at = coalesce(expires_at, now() + make_interval(secs => @after::float8))
where resource_name = @resource_name and state in ('ready', 'failed');

-- name: MoveBackups :exec
-- The resource belongs to the instance with another ID on the platform now.
update backups set instance_id = @instance_id where resource_name = @resource_name;

-- name: MoveBackupsToServer :exec
-- Where their verifications run from now on.
update backups set server = $2 where resource_name = $1 and object <> '';

-- name: DeletingBackups :many
-- Those that no copy uses any more, and no other backup builds on. With a backup go the records of its
-- copies, from which the operations that wait for them learn how they ended.
select b.id, b.resource_name, b.object from backups b
where b.state = 'deleting' and not b.held and not exists (select 1 from copies c where c.backup_id = b.id and (c.finished_at is null
        or exists (select 1 from operations o where o.copy_id = c.id and o.copy_id <> '' and o.state = 'in progress')))
    and not exists (select 1 from backups d where d.base_id = b.id and d.base_id <> '')
order by b.id limit @batch;

-- name: DeletingHeldBackups :many
-- The same of those that the backends' servers hold, the oldest first.
select b.id, b.backend, b.server from backups b
where b.state = 'deleting' and b.held and b.backend = any(@backends::text[])
    and not exists (select 1 from copies c where c.backup_id = b.id and (c.finished_at is null
        or exists (select 1 from operations o where o.copy_id = c.id and o.copy_id <> '' and o.state = 'in progress')))
order by b.id limit @batch;

-- name: BackupsOn :many
-- Those that build on a backup, directly or not.
with recursive building as (
    select d.id from backups d where d.base_id = @base_id and d.base_id <> ''
    union select d.id from backups d join building on d.base_id = building.id and d.base_id <> ''
)
select id from building;

-- name: DeleteBackup :exec
delete from backups where id = $1 and state = 'deleting';

-- name: InsertCopy :exec
insert into copies (id, kind, backup_id, instance_id, resource_name, server, state, total_bytes)
values ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: Copy :one
select * from copies where id = $1;

-- name: CopyAndBackup :one
select sqlc.embed(c), sqlc.embed(b) from copies c join backups b on b.id = c.backup_id where c.id = $1;

-- name: CopiesOfBackups :many
-- The work on some backups that is recorded, oldest first.
select * from copies where backup_id = any(@ids::text[]) order by seq;

-- name: CopyOfBackup :one
-- The copy that makes the backup.
select * from copies where backup_id = $1 and kind = 'backup';

-- name: UnfinishedCopies :many
select * from copies where resource_name = $1 and finished_at is null order by seq;

-- name: ScratchResources :many
-- The instances that verifications have made.
select server, resource_name from copies where kind = 'verify' and finished_at is null;

-- name: CountUnfinishedCopies :many
-- failing are those that wait after an attempt that failed.
select kind, server, state, count(*) as copies, count(*) filter (where last_error <> '' and state in ('waiting', 'unclean')) as failing
from copies where finished_at is null group by kind, server, state order by kind, server, state;

-- name: BackupAges :many
-- For each of the plans, how long the instance has been without a new backup that has had none for longest.
select i.service_id, i.plan_id, max(extract(epoch from now() - greatest(i.created_at, b.newest)))::float8 as seconds
from instances i left join lateral (
    select created_at as newest from backups where backups.instance_id = i.id and backups.state = 'ready' order by created_at desc, backups.id desc limit 1) b on true
where i.status = 'ready' and i.plan_id = any(@plan_ids::text[])
group by i.service_id, i.plan_id;

-- name: CountBackups :many
-- verified is in seconds since 1970; 0: never.
select service_id, plan_id, state, count(*) as backups, coalesce(sum(stored_bytes), 0)::bigint as stored_bytes,
    coalesce(extract(epoch from max(verified_at)), 0)::float8 as verified
from backups group by service_id, plan_id, state;

-- name: DueCopies :many
-- The first of each server. Restores, for which users wait, go before backups and verifications.
select c.id, c.server from unnest(@servers::text[]) as s (server)
cross join lateral (
    select * from copies where copies.server = s.server and copies.state in ('waiting', 'running') and copies.due_at <= now()
    order by copies.kind <> 'restore', copies.due_at limit @batch) as c;

-- name: StartCopy :execrows
update copies set state = 'running', attempts = attempts + 1, done_bytes = 0, due_at = now() where id = $1 and state in ('waiting', 'running');

-- name: RecordProgress :exec
update copies set done_bytes = $2, description = '' where id = $1 and state = 'running' and done_bytes <> $2;

-- name: RetryCopy :execrows
update copies set state = @state, due_at = clock_timestamp() + make_interval(secs => @wait::float8), description = @description, last_error = @last_error, done_bytes = 0
where id = @id and state in ('waiting', 'running');

-- name: FinishCopy :exec
-- Fails (IsStale) if the copy was cancelled meanwhile, so that the rest of its batch does not run.
with finished as (
    update copies set state = @state, description = @description, last_error = @last_error, done_bytes = case when @state = 'succeeded' then @done_bytes::bigint else done_bytes end,
        finished_at = clock_timestamp()
    where id = @id and finished_at is null returning 1
)
select case when count(*) = 0 then ('the row has changed meanwhile, so it is read again: ' || count(*))::int end from finished;

-- name: ReleaseCopy :execrows
-- Its operation has prepared the instance.
update copies set state = 'waiting', due_at = greatest(due_at, now()) where id = $1 and state in ('held', 'unclean');

-- name: CleanCopy :exec
-- Its operation has removed what a restore left of the instance, and must not remove what it makes now.
update copies set state = 'held' where id = $1 and state = 'unclean';

-- name: CancelCopy :execrows
update copies set state = 'cancelled', finished_at = now(), description = $2 where id = $1 and finished_at is null;

-- name: CancelCopiesOfResource :many
-- All work on an instance that is being deleted.
update copies set state = 'cancelled', finished_at = now(), description = 'cancelled: the instance is being deleted or recovered'
where resource_name = $1 and finished_at is null returning id;

-- name: DeleteUnmadeBackups :exec
-- Removes what cancelled copies may have stored.
update backups b set state = 'deleting' from copies c
where c.id = any(@copies::text[]) and c.kind = 'backup' and c.state = 'cancelled' and b.id = c.backup_id and b.state = 'pending';

-- name: PruneCopies :execrows
delete from copies where id = any(array(select c.id from copies c where c.finished_at < @before
    and not exists (select 1 from operations o where o.copy_id = c.id and o.copy_id <> '' and o.state = 'in progress')
    order by c.finished_at limit @batch));

-- name: LockCopying :one
-- Held until the transaction ends by the one copy that reads or writes an instance's resource.
select pg_try_advisory_xact_lock(hashtextextended('copy/' || @resource_name::text, 0));

-- name: LockBackup :one
-- Held until the transaction ends by what makes or deletes a backup.
select pg_try_advisory_xact_lock(hashtextextended('backup/' || @backup_id::text, 0));

-- name: LockBackupShared :one
-- Held until the transaction ends by what reads a backup.
select pg_try_advisory_xact_lock_shared(hashtextextended('backup/' || @backup_id::text, 0));

-- name: LockCopySlot :one
-- Held until the transaction ends by one of the copies on a server, of which so many may run.
select pg_try_advisory_xact_lock(hashtextextended('copies/' || @server::text || '/' || @slot::text, 0));

-- name: SetSchedule :exec
insert into backup_schedules (instance_id, schedule, next_at) values ($1, $2, $3)
on conflict (instance_id) do update set schedule = excluded.schedule, next_at = excluded.next_at;

-- name: Schedule :one
select * from backup_schedules where instance_id = $1;

-- name: DueSchedules :many
select instance_id from backup_schedules where next_at <= now() order by next_at limit @batch;

-- name: ScheduleForUpdate :one
-- No row if another replica has it, or has dealt with it.
select * from backup_schedules where instance_id = $1 and next_at <= now() for update skip locked;

-- name: DeleteSchedule :exec
delete from backup_schedules where instance_id = $1;

-- name: UnscheduledInstances :many
-- A batch of ready instances of a plan whose schedule is not recorded, or has changed, by key.
select i.* from instances i left join backup_schedules s on s.instance_id = i.id
where i.plan_id = @plan_id and i.status = 'ready' and i.id > @after and (s.schedule is null or s.schedule <> @schedule::text)
order by i.id limit @batch;
