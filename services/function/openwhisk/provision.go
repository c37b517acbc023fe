package openwhisk

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
)

// Provision implements services.Backend: a namespace is a row.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	return services.ProvisionResult{}, b.put(ctx, r.Instance)
}

// Update implements services.Backend. Runtimes read the row at every request, so
// that the new limits and mounts hold from the next one on.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	return services.UpdateResult{}, b.put(ctx, r.Instance)
}

func (b *backend) put(ctx context.Context, inst instance) error {
	row, err := namespaceRow(inst)
	if err != nil {
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var n int64
	err = b.store.Alone(ctx, inst.Name, func(tx pgx.Tx) (err error) {
		n, err = b.store.PutNamespace(ctx, tx, row)
		return err
	})
	if err != nil {
		return failed("write the namespace", err)
	}
	if n == 0 {
		return errors.New("the namespace is being removed; deprovision the instance to the end first")
	}
	return nil
}

func namespaceRow(inst instance) (state.PutNamespaceParams, error) {
	row := state.PutNamespaceParams{Name: inst.Name}
	mounts, err := mounts(inst)
	if err != nil {
		return row, err
	}
	if row.Limits, err = json.Marshal(inst.Plan.limits()); err != nil {
		return row, err
	}
	row.Mounts, err = json.Marshal(mounts)
	return row, err
}
