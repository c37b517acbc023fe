package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
)

// Ready implements services.Readier: the servers answer, JetStream has the required limits, and
// the servers obey the operator.
func (b *backend) Ready(ctx context.Context) error {
	all, err := b.link.present(ctx)
	if err != nil {
		return err
	}
	if _, err := b.link.usageOf(ctx, all, ""); err != nil {
		return err
	}
	if err := b.checkLimits(ctx, all); err != nil {
		return err
	}
	order, err := b.keys.deletion() // of nothing: it shows whether the servers obey
	if err != nil {
		return err
	}
	return b.link.each(ctx, "the servers refuse the operator's orders; operator_seed must be of a key that their operator's JWT names, and their resolver of type full with allow_delete: true",
		all, deleteSubject, order, envelope.refusal)
}

// batchLevel is the first level of the API with atomic batches.
const batchLevel = 2

// missing are the limits that a server lacks.
func (r report) missing() (missing []string) {
	if r.Disabled {
		return nil
	}
	if r.Limits.Window <= 0 {
		missing = append(missing, "duplicate_window")
	}
	if r.API.Level >= batchLevel && (r.Limits.Batches <= 0 || r.Limits.Messages <= 0) {
		missing = append(missing, "batch.max_inflight_per_stream and batch.max_msgs")
	}
	return missing
}

// checkLimits checks the limits without which applications take space that no account counts.
func (b *backend) checkLimits(ctx context.Context, all servers) error {
	answers, err := b.link.reports(ctx, all, "ask for the limits of JetStream", "")
	if err != nil {
		return err
	}
	var faults []string
	for id, r := range answers {
		if missing := r.missing(); len(missing) > 0 {
			faults = append(faults, fmt.Sprintf("server %s: jetstream.limits: set %s", all[id], strings.Join(missing, ", ")))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	slices.Sort(faults)
	return errors.New(strings.Join(faults, "; ") + ": without them an application can use memory and disk space that no plan counts; see the README of queue/nats before you set them")
}

var (
	_ services.FootprintReporter[Plan] = (*backend)(nil)
	_ services.CapacityReporter        = (*backend)(nil)
)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space {
	return services.Space{Storage: p.Storage, Memory: p.Memory}
}

// Capacity implements services.CapacityReporter, for JetStream on all servers together.
func (b *backend) Capacity(ctx context.Context) (c services.Capacity, err error) {
	all, err := b.link.present(ctx)
	if err != nil {
		return c, err
	}
	answers, err := b.link.reports(ctx, all, "ask for the capacity of JetStream", "")
	for _, r := range answers {
		if r.Disabled {
			continue
		}
		c.Total.Storage += services.Size(r.Config.Storage)
		c.Total.Memory += services.Size(r.Config.Memory)
		c.Free.Storage += services.Size(max(0, r.Config.Storage-r.Storage))
		c.Free.Memory += services.Size(max(0, r.Config.Memory-r.Memory))
	}
	return c, err
}

// List implements services.Lister. A binding exists while its signing key is in the account.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	var found []services.Resource
	err := b.link.forEach(ctx, func(token string) {
		claims, err := jwt.DecodeAccountClaims(token)
		if err != nil {
			return // another operator's, of an unknown kind
		}
		name, ours := b.keys.instanceOf(claims)
		if !ours {
			return
		}
		found = append(found, services.Resource{Instance: name, Name: resource(claims.Name, claims.Subject)})
		for key, scope := range claims.SigningKeys {
			if s, ok := scope.(*jwt.UserScope); ok {
				found = append(found, services.Resource{Instance: name, Binding: s.Role, Name: claims.Name + " (signing key " + key + ")"})
			}
		}
	})
	return found, err
}

// resource names an account as its owner's tools show it, and by its key.
func resource(name, public string) string { return name + " (account " + public + ")" }

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string {
	public, err := b.keys.account(inst.Name)
	if err != nil {
		return ""
	}
	return resource(b.keys.prefix+inst.Name, public)
}
