package openwhisk

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
)

// Bind implements services.Backend: a key is a row, with the key's SHA-256.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	if err := b.prepare(ctx); err != nil {
		return services.BindResult{}, err
	}
	key := deriveKey(r.Binding.Seed)
	var n int64
	err := b.store.Alone(ctx, r.Binding.Name, func(tx pgx.Tx) (err error) {
		n, err = b.store.PutKey(ctx, tx, state.PutKeyParams{
			Uuid: key.uuid, Hash: key.hash(), Namespace: r.Instance.Name, Binding: r.Binding.Name, Role: r.Binding.Params.Role,
		})
		return err
	})
	if err != nil {
		return services.BindResult{}, failed("write the key", err)
	}
	if n == 0 {
		return services.BindResult{}, errors.New("the instance's namespace is not there or being removed; provision the instance again")
	}
	return services.BindResult{Credentials: b.credentials(r.Instance.Name, key)}, nil
}

// Unbind implements services.Backend. Every request asks for its key anew, so that
// none is let in after this.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	if err := b.prepare(ctx); err != nil {
		return services.UnbindResult{}, err
	}
	err := b.store.Alone(ctx, r.Binding.Name, func(tx pgx.Tx) error { return b.store.DeleteKey(ctx, tx, r.Binding.Name) })
	if err != nil {
		return services.UnbindResult{}, failed("delete the key", err)
	}
	return services.UnbindResult{}, nil
}
