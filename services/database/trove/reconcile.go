package trove

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// interval is how often Reconcile examines an instance: each time costs Trove some requests.
const interval = 5 * time.Minute

// Reconcile implements services.Reconciler: it closes the users that a restored backup brought
// back. Verify opens those of bindings that still exist.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (services.ReconcileResult, error) {
	var result services.ReconcileResult
	for _, inst := range r.Instances {
		if last, ok := b.seen.Get(inst.Name); ok && time.Since(last) < interval {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		condition, err := b.examine(ctx, inst.Name)
		if _, pending := errors.AsType[*services.NotYetError](err); pending || errors.Is(err, errAbsent) {
			continue // being made, resized or removed
		}
		result.Record(inst.ID, condition, err)
	}
	return result, nil
}

func (b *backend) examine(ctx context.Context, instance string) (services.Condition, error) {
	at, s, err := b.find(ctx, instance)
	if s.failed() {
		b.seen.Add(instance, time.Now())
		return services.Condition{Reason: services.Inaccessible, Message: "the database server has the status " + s.Status + "; ask your operator"}, err
	}
	if err != nil {
		return services.Condition{}, err
	}
	if err := at.closeRestored(ctx, s); err != nil {
		return services.Condition{}, err
	}
	detailed, err := at.server(ctx, s.ID)
	if err != nil {
		return services.Condition{}, explain("ask for the database server", err)
	}
	b.seen.Add(instance, time.Now())
	return detailed.crowded(), nil
}

// crowded is the condition of a server whose volume is almost full. On a full one nothing can be
// written, and Trove cannot change users.
func (s server) crowded() services.Condition {
	const most = 0.95
	if s.Volume.Used < most*float64(s.Volume.Size) || s.Volume.Size == 0 {
		return services.Condition{}
	}
	return services.Condition{Reason: services.OverQuota, Message: fmt.Sprintf(
		"storage: %.1f of the volume's %d GB are used: delete data, or choose a plan with a larger volume before it is full", s.Volume.Used, s.Volume.Size)}
}

// closeRestored gives the users of another server passwords that nobody knows.
func (at place) closeRestored(ctx context.Context, s server) error {
	users, err := at.users(ctx, s.ID)
	if err != nil {
		return explain("list the users", err)
	}
	for _, u := range users {
		if o := ownerOf(u.grants(), s.ID); o.binding == "" || o.here {
			continue
		}
		if err := at.setPassword(ctx, s.ID, u.Name, services.NewSecret(rand.Text())); err != nil {
			return fmt.Errorf("close the user %s of a restored backup: %w", u.Name, explain("set the password", err))
		}
	}
	return nil
}

// Describe implements services.Describer.
func (b *backend) Describe(ctx context.Context, inst instance) (map[string]any, error) {
	at, s, err := b.find(ctx, inst.Name)
	if err != nil {
		return nil, gone(err)
	}
	s, err = at.server(ctx, s.ID)
	if err != nil {
		return nil, explain("ask for the database server", err)
	}
	return map[string]any{
		"datastore": s.Datastore.Type, "version": s.Datastore.Version, "status": s.Status,
		"volume_gb": float64(s.Volume.Size), "volume_used_gb": s.Volume.Used,
	}, nil
}
