package trove

import (
	"context"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Update implements services.Backend: it gives the server another flavor, which restarts it, and
// then a larger volume. Trove does one at a time. Volumes cannot shrink: where the engine undoes
// an update, the larger one stays.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	var result services.UpdateResult
	at, s, err := b.find(ctx, r.Instance.Name)
	if err != nil {
		return result, gone(err)
	}
	flavor, err := at.flavorOf(ctx, r.Instance.Plan)
	if err != nil {
		return result, err
	}
	if s.Flavor.ID != flavor {
		return result, b.resize(ctx, at, s, flavorTarget(flavor), map[string]any{"flavorRef": flavor})
	}
	b.asked.Remove(resizeKey(s, flavorTarget(flavor)))
	size := r.Instance.Plan.gigabytes()
	if s.Volume.Size < size {
		return result, b.resize(ctx, at, s, volumeTarget(size), map[string]any{"volume": map[string]int{"size": size}})
	}
	b.asked.Remove(resizeKey(s, volumeTarget(size)))
	return result, nil
}

func flavorTarget(id string) string { return "flavor " + id }

func volumeTarget(size int) string { return fmt.Sprintf("volume of %d GB", size) }

func resizeKey(s server, target string) string { return "resize " + s.ID + " " + target }

// resize asks Trove for something. After a failure the server works again with what it had, so
// that the broker has to remember that it asked; another process asks again.
func (b *backend) resize(ctx context.Context, at place, s server, target string, change map[string]any) error {
	if !s.idle() {
		return s.wait()
	}
	key := resizeKey(s, target)
	if _, known := b.since(key, memory); known {
		b.asked.Remove(key)
		detailed, err := at.server(ctx, s.ID)
		if err != nil {
			return explain("ask for the database server", err)
		}
		return fmt.Errorf("Trove did not give the database server the %s: %s", target, faultOf(detailed)) //nolint:staticcheck // a name
	}
	if err := at.action(ctx, s.ID, "resize", change); err != nil {
		return explain("resize the database server to a "+target, err)
	}
	b.asked.Add(key, time.Now())
	return services.NotYet(poll, "the database server is being resized to a "+target)
}
