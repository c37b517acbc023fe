package nats

import (
	"context"
	"fmt"
)

// Ready implements services.Readier: the servers answer, JetStream is enabled,
// and they take the operator's orders.
func (b *backend) Ready(ctx context.Context) error {
	there, err := b.link.present(ctx)
	if err != nil {
		return err
	}
	if _, err := b.link.usageOf(ctx, there, ""); err != nil {
		return err
	}
	order, err := b.keys.deletion() // of nothing: whether it is obeyed says it all
	if err != nil {
		return err
	}
	if _, err := b.link.all(ctx, there, deleteSubject, []byte(order)); err != nil {
		return fmt.Errorf("the servers do not take the operator's orders; operator_seed must be of a key that their operator's JWT names, and their resolver of type full with allow_delete: true: %w", err)
	}
	return nil
}
