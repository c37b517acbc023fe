package broker

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// plan finds a plan of a service in the catalog.
func (b *Broker) plan(serviceID, planID string) (*catalog.Plan, error) {
	service, ok := b.Catalog.Service(serviceID)
	if !ok {
		return nil, fail(Invalid, "service_id: no service has this id; GET /v2/catalog lists them")
	}
	plan, ok := b.Catalog.Plan(serviceID, planID)
	if !ok {
		return nil, fail(Invalid, "plan_id: service %q has no plan with this id; GET /v2/catalog lists them", service.Name)
	}
	return plan, nil
}

// visible says whether an instance is the caller's. One that is kept is gone for
// its platform.
func visible(ctx context.Context, i store.Instance) bool {
	return i.Platform == CallerFrom(ctx).Platform && i.RetainedUntil == nil
}

// driver is that of the server which an instance of the plan is on.
func (b *Broker) driver(plan *catalog.Plan, server string) (*services.Driver, error) {
	key := catalog.ServerKey(plan.Backend, server)
	d, ok := b.Drivers[key]
	if !ok {
		return nil, internal("find the server", errors.New("server "+key+" is not open"))
	}
	return d, nil
}

// anyDriver is for what all servers of a backend have in common: its rules.
func (b *Broker) anyDriver(plan *catalog.Plan) (*services.Driver, error) {
	return b.driver(plan, b.Catalog.ServersOf(plan.Backend)[0].Name)
}

// planOf is the plan an instance is on; the catalog's check at start-up makes
// sure that it is there.
func (b *Broker) planOf(i store.Instance) (*catalog.Plan, error) {
	plan, ok := b.Catalog.Plan(i.ServiceID, i.PlanID)
	if !ok {
		return nil, internal("find the instance's plan", errors.New("plan "+i.PlanID+" is not in the catalog"))
	}
	return plan, nil
}

// rejection turns what a backend refuses into an error of the given kind; other
// errors are faults of ours.
func rejection(kind Kind, err error) error {
	if message, ok := services.IsRejected(err); ok {
		return fail(kind, "%s", message)
	}
	return internal("check the parameters", err)
}

// stateError is an error of the state database: away, or at fault.
func stateError(doing string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if operation.IsBusy(err) {
		return fail(Concurrency, "another operation is in progress; repeat the request when it has ended")
	}
	if store.IsExhausted(err) {
		return &Error{Kind: Unavailable, Description: "the broker's state database has no memory, connections or disk left; repeat the request later", Cause: err}
	}
	if errors.Is(err, context.Canceled) || isUnreachable(err) {
		return &Error{Kind: Unavailable, Description: "the broker's state database does not answer; repeat the request later", Cause: err}
	}
	return internal(doing, err)
}

func isUnreachable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return isTemporary(pg.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return pgconn.SafeToRetry(err) || errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "unexpected EOF") ||
		strings.Contains(err.Error(), "conn closed")
}

// isTemporary says whether the server's error is temporary
// (PostgreSQL manual, appendix A): connection exceptions, its own shutting down or
// starting up, a standby's refusal to write, a deadlock or a conflict.
func isTemporary(code string) bool {
	const readOnly = "25006"
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "40") || code == readOnly
}

// activeOperations is what is in progress on an instance: its own operation, and
// those of its bindings.
type activeOperations struct {
	instance *store.Operation
	bindings []store.Operation
}

func (b *Broker) activeOperations(ctx context.Context, db store.DBTX, instanceID string) (activeOperations, error) {
	ops, err := b.Store.UnfinishedOperations(ctx, db, instanceID)
	return activeOf(ops), err
}

// readActive adds what is in progress on an instance to a batch.
func (b *Broker) readActive(ctx context.Context, batch *store.Batch, instanceID string) *store.Result[[]store.Operation] {
	return store.Read(batch, func(db store.DBTX) ([]store.Operation, error) {
		return b.Store.UnfinishedOperations(ctx, db, instanceID)
	})
}

func activeOf(ops []store.Operation) activeOperations {
	var u activeOperations
	for i, op := range ops {
		if op.BindingID == "" {
			u.instance = &ops[i]
		} else {
			u.bindings = append(u.bindings, op)
		}
	}
	return u
}

// ofBinding returns the unfinished operation on a binding.
func (u activeOperations) ofBinding(bindingID string) *store.Operation {
	for i := range u.bindings {
		if u.bindings[i].BindingID == bindingID {
			return &u.bindings[i]
		}
	}
	return nil
}

// readAfterCreate reads again what is to be deleted and was not found, and what is in
// progress on the instance. A create that the platform has given up may be about to be
// committed yet: it is waited for, because nobody deletes again what was said to be gone
// (OSB, "Orphan Mitigation").
func readAfterCreate[T any](ctx context.Context, b *Broker, tx pgx.Tx, instanceID, id string, read func(context.Context, store.DBTX, string) (T, error)) (have T, u activeOperations, err error) {
	if err = b.Store.AwaitCreate(ctx, tx, id); err != nil {
		return have, u, err
	}
	if have, err = read(ctx, tx, id); err != nil {
		return have, u, err
	}
	u, err = b.activeOperations(ctx, tx, instanceID)
	return have, u, err
}

func (b *Broker) lastOperation(ctx context.Context, db store.DBTX, instanceID, bindingID string) (*store.Operation, error) {
	op, err := b.Store.LastOperation(ctx, db, store.LastOperationParams{InstanceID: instanceID, BindingID: bindingID})
	if store.NotFound(err) {
		return nil, nil
	}
	return &op, err
}

// leftovers says whether the resource's last operation failed and left what
// only a delete cleans up.
func (b *Broker) leftovers(ctx context.Context, db store.DBTX, instanceID, bindingID string) (bool, error) {
	op, err := b.lastOperation(ctx, db, instanceID, bindingID)
	if err != nil || op == nil {
		return false, err
	}
	return op.State == store.Failed && !op.Usable, nil
}
