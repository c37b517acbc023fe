package openwhisk

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
)

// Bind implements services.Backend: a key is a row, with the key's SHA-256.
func (b *backend) Bind(ctx context.Context, inst instance, bd binding) (services.Credentials, error) {
	if err := b.prepare(ctx); err != nil {
		return services.Credentials{}, err
	}
	key := deriveKey(bd.Seed)
	var n int64
	err := b.store.Alone(ctx, bd.Name, func(tx pgx.Tx) (err error) {
		n, err = b.store.PutKey(ctx, tx, state.PutKeyParams{
			Uuid: key.uuid, Hash: key.hash(), Namespace: inst.Name, Binding: bd.Name, Role: bd.Params.Role,
		})
		return err
	})
	if err != nil {
		return services.Credentials{}, failed("write the key", err)
	}
	if n == 0 {
		return services.Credentials{}, errors.New("the instance's namespace is not there or being removed; provision the instance again")
	}
	return b.credentials(inst.Name, key), nil
}

// Unbind implements services.Backend. Every request asks for its key anew, so that
// none is let in after this.
func (b *backend) Unbind(ctx context.Context, _ instance, bd binding) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	err := b.store.Alone(ctx, bd.Name, func(tx pgx.Tx) error { return b.store.DeleteKey(ctx, tx, bd.Name) })
	if err != nil {
		return failed("delete the key", err)
	}
	return nil
}
