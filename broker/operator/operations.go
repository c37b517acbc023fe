package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// Operations lists the operations that the filter selects, latest first.
func (o *Operator) Operations(ctx context.Context, f Filter) ([]store.Operation, error) {
	q, err := o.query(f, OperationStates())
	if err != nil {
		return nil, err
	}
	return pages(int64(math.MaxInt64), q.Limit, func(before int64, batch int32) ([]store.Operation, error) {
		return o.Store.ListOperations(ctx, o.Store.Pool, store.ListOperationsParams{
			Before: before, State: q.Status, InstanceID: q.Instance, Platform: q.Platform, ServiceIds: q.serviceIDs, PlanIds: q.planIDs,
			OfInstance: q.ofInstance(), OrganizationID: q.Organization, SpaceID: q.Space, Backend: q.backend, Server: q.server, Batch: batch,
		})
	}, func(op store.Operation) int64 { return op.Seq })
}

// Operation returns an operation.
func (o *Operator) Operation(ctx context.Context, id string) (store.Operation, error) {
	op, err := o.Store.Operation(ctx, o.Store.Pool, id)
	return op, found(err, "operation", id)
}

// Retry gives a failed operation a new deadline; a running broker works on it.
func (o *Operator) Retry(ctx context.Context, by Actor, id string) (store.Operation, error) {
	return o.Engine.Retry(ctx, id, json.RawMessage(by), false)
}

// RetryAll retries the selected operations that failed for no reason of the user's and
// are the latest on their instance or binding. skipped says which of them could not be
// retried, and why. With dry nothing is retried.
func (o *Operator) RetryAll(ctx context.Context, by Actor, f Filter, dry bool) (retried []store.Operation, skipped []error, err error) {
	limit := f.Limit
	f.Status, f.Limit = string(store.Failed), 0
	failed, err := o.Operations(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	seen := map[[2]string]bool{}
	for _, op := range failed {
		if limit > 0 && len(retried) == limit {
			break
		}
		key := [2]string{op.InstanceID, op.BindingID}
		if seen[key] || op.Outcome != store.OutcomeFailed && op.Outcome != store.OutcomeTimedOut {
			continue
		}
		seen[key] = true
		again, err := o.Engine.Retry(ctx, op.ID, json.RawMessage(by), dry)
		switch {
		case err == nil:
			retried = append(retried, again)
		case errors.Is(err, operation.ErrNotRetryable):
			skipped = append(skipped, fmt.Errorf("operation %s: %w", op.ID, err))
		default:
			return retried, skipped, err
		}
	}
	return retried, skipped, nil
}

// AuditFilter selects entries that match all fields that are set.
type AuditFilter struct {
	Since, Until      time.Time
	Instance, Binding string
	// Actor is a platform, or a text in the originating identity.
	Actor string
	// Action is one of AuditActions.
	Action string
	// Limit is the most that is returned; 0: no limit.
	Limit int
}

// AuditActions are the actions of the audit record.
func AuditActions() []string {
	return slices.Concat(texts(store.Kinds()...), texts(store.OperatorActions()...), texts(store.BackupActions()...))
}

// Audit reads the audit record, latest first.
func (o *Operator) Audit(ctx context.Context, f AuditFilter) ([]store.Audit, error) {
	if f.Action != "" && !slices.Contains(AuditActions(), f.Action) {
		return nil, &ArgumentError{"action", fmt.Sprintf("must be one of %s, not %q", strings.Join(AuditActions(), ", "), f.Action)}
	}
	if f.Until.IsZero() {
		f.Until = time.Now().Add(24 * time.Hour) // the database's clock may be ahead
	}
	rows, err := pages(int64(math.MaxInt64), f.Limit, func(before int64, batch int32) ([]store.Audit, error) {
		return o.Store.ListAudit(ctx, o.Store.Pool, store.ListAuditParams{
			Before: before, Since: f.Since, Until: f.Until, InstanceID: f.Instance, BindingID: f.Binding, Action: f.Action, Actor: f.Actor, Batch: batch,
		})
	}, func(e store.Audit) int64 { return e.Seq })
	if err != nil {
		return nil, fmt.Errorf("read the audit record: %w", err)
	}
	return rows, nil
}
