package broker

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

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

// visible reports whether the instance exists for the caller. A retained one does not.
func visible(ctx context.Context, i store.Instance) bool {
	return i.Platform == CallerFrom(ctx).Platform && i.RetainedUntil == nil
}

// driver returns the driver of one of the plan's servers.
func (b *Broker) driver(plan *catalog.Plan, server string) (*services.Driver, error) {
	key := catalog.ServerKey(plan.Backend, server)
	d, ok := b.Drivers[key]
	if !ok {
		return nil, internal("find the server", errors.New("server "+key+" is not open"))
	}
	return d, nil
}

// anyDriver returns a driver for what is the same on all servers of a backend: its rules.
func (b *Broker) anyDriver(plan *catalog.Plan) (*services.Driver, error) {
	return b.driver(plan, b.Catalog.ServersOf(plan.Backend)[0].Name)
}

// planOf returns an instance's plan; at its start the broker checked that the catalog has it.
func (b *Broker) planOf(i store.Instance) (*catalog.Plan, error) {
	plan, ok := b.Catalog.Plan(i.ServiceID, i.PlanID)
	if !ok {
		return nil, internal("find the instance's plan", errors.New("plan "+i.PlanID+" is not in the catalog"))
	}
	return plan, nil
}

// rejection makes a backend's rejection an Invalid error; other errors are internal.
func rejection(err error) error {
	if message, ok := services.IsRejected(err); ok {
		return fail(Invalid, "%s", message)
	}
	return internal("check the parameters", err)
}

// stateError makes an error of the state database one for the user.
func stateError(doing string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if operation.IsBusy(err) || store.IsStale(err) {
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

// isTemporary reports whether the server's error is temporary (PostgreSQL manual, appendix
// A): connection exceptions, a server that stops or starts, a standby's refusal to write,
// a deadlock or a conflict.
func isTemporary(code string) bool {
	const readOnly = "25006"
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "40") || code == readOnly
}

// isBusy reports whether an operation in progress on the instance keeps it from being used.
func isBusy(active []store.Operation) bool {
	op := store.On(active, "")
	return op != nil && !op.OnlyBacksUp()
}

// onBindings reports whether an operation is in progress on any of the instance's bindings.
func onBindings(active []store.Operation) bool {
	return slices.ContainsFunc(active, func(op store.Operation) bool { return op.BindingID != "" })
}

// readAfterCreate reads a resource to delete that was not found once more, with the
// operations in progress on the instance, after any create of it has been committed. The
// platform may have given up that create, and would not delete again what it was told is
// gone (OSB, "Orphan Mitigation").
func readAfterCreate[T any](ctx context.Context, b *Broker, tx *store.Tx, instanceID, id string, read func(context.Context, store.DBTX, string) (T, error)) (have T, active []store.Operation, err error) {
	if err = b.Store.AwaitCreate(ctx, tx, id); err != nil {
		return have, nil, err
	}
	if have, err = read(ctx, tx, id); err != nil {
		return have, nil, err
	}
	active, err = b.Store.UnfinishedOperations(ctx, tx, instanceID)
	return have, active, err
}

func (b *Broker) lastOperation(ctx context.Context, db store.DBTX, instanceID, bindingID string) (*store.Operation, error) {
	op, err := b.Store.LastOperation(ctx, db, store.LastOperationParams{InstanceID: instanceID, BindingID: bindingID})
	if store.NotFound(err) {
		return nil, nil
	}
	return &op, err
}

// leftovers reports whether the resource's last operation failed and left something that
// only a delete cleans up.
func (b *Broker) leftovers(ctx context.Context, db store.DBTX, instanceID, bindingID string) (bool, error) {
	op, err := b.lastOperation(ctx, db, instanceID, bindingID)
	if err != nil || op == nil {
		return false, err
	}
	return op.State == store.Failed && !op.Usable, nil
}
