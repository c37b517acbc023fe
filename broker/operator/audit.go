package operator

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
)

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
	return append(texts(store.Kinds()...), texts(store.OperatorActions()...)...)
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
