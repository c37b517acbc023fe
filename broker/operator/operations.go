package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// Operation is an operation as the operator sees it.
type Operation struct {
	ID          string        `json:"id"`
	Kind        store.Kind    `json:"kind"`
	Platform    string        `json:"platform"`
	InstanceID  string        `json:"instance_id"`
	BindingID   string        `json:"binding_id,omitempty"`
	State       store.State   `json:"state"`
	Phase       store.Phase   `json:"phase"`
	Outcome     store.Outcome `json:"outcome,omitempty"`
	Description string        `json:"description,omitempty"`
	LastError   string        `json:"last_error,omitempty"`
	Attempts    int32         `json:"attempts"`
	RequestID   string        `json:"request_id,omitempty"`
	CreatedAt   time.Time     `json:"created_at"`
	Deadline    time.Time     `json:"deadline"`
	FinishedAt  *time.Time    `json:"finished_at,omitempty"`
}

func newOperation(op store.Operation) Operation {
	return Operation{
		ID: op.ID, Kind: op.Kind, Platform: op.Platform, InstanceID: op.InstanceID, BindingID: op.BindingID, State: op.State,
		Phase: op.Phase, Outcome: op.Outcome, Description: op.Description, LastError: op.LastError, Attempts: op.Attempts,
		RequestID: op.RequestID, CreatedAt: op.CreatedAt, Deadline: op.Deadline, FinishedAt: op.FinishedAt,
	}
}

// Operations lists the operations that the filter selects, latest first.
func (o *Operator) Operations(ctx context.Context, f Filter) ([]Operation, error) {
	q, err := o.query(f, OperationStates())
	if err != nil {
		return nil, err
	}
	rows, err := pages(int64(math.MaxInt64), q.Limit, func(before int64, batch int32) ([]store.Operation, error) {
		return o.Store.ListOperations(ctx, o.Store.Pool, store.ListOperationsParams{
			Before: before, State: q.Status, InstanceID: q.Instance, Platform: q.Platform, ServiceIds: q.serviceIDs, PlanIds: q.planIDs,
			OfInstance: q.ofInstance(), OrganizationID: q.Organization, SpaceID: q.Space, Backend: q.backend, Server: q.server, Batch: batch,
		})
	}, func(op store.Operation) int64 { return op.Seq })
	return convert(rows, newOperation), err
}

// Operation returns an operation.
func (o *Operator) Operation(ctx context.Context, id string) (Operation, error) {
	op, err := o.Store.Operation(ctx, o.Store.Pool, id)
	return newOperation(op), found(err, "operation", id)
}

// Retry gives a failed operation a new deadline; a running broker works on it.
func (o *Operator) Retry(ctx context.Context, by Actor, id string) (Operation, error) {
	op, err := o.Engine.Retry(ctx, id, json.RawMessage(by))
	return newOperation(op), err
}

// RetryAll retries the selected operations that failed for no reason of the user's and
// are the latest on their instance or binding. skipped says which of them could not be
// retried, and why. With dry nothing is retried.
func (o *Operator) RetryAll(ctx context.Context, by Actor, f Filter, dry bool) (retried []Operation, skipped []error, err error) {
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
		if dry {
			err = o.Engine.Retryable(ctx, op.ID)
		} else {
			op, err = o.Retry(ctx, by, op.ID)
		}
		switch {
		case err == nil:
			retried = append(retried, op)
		case errors.Is(err, operation.ErrNotRetryable):
			skipped = append(skipped, fmt.Errorf("operation %s: %w", op.ID, err))
		default:
			return retried, skipped, err
		}
	}
	return retried, skipped, nil
}
