package operation

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// folders finds the directories of the instances that raw names. One that does not exist,
// is not ready, belongs to another tenant or has no directory is rejected in the same words,
// so that a tenant does not learn what others have. lenient omits it, for undoing an update.
func (e *Engine) folders(ctx context.Context, d *services.Driver, raw services.RawInstance, owner store.Instance, lenient bool) (map[string]string, error) {
	ids, err := d.MountedInstances.OrZero(ctx, raw)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	folders := make(map[string]string, len(ids))
	for _, id := range ids {
		dir, ok, err := e.folder(ctx, id, owner)
		switch {
		case err != nil:
			return nil, err
		case ok:
			folders[id] = dir
		case !lenient:
			return nil, services.Rejected("parameters: %.100q is no file system instance that is ready in this space; "+
				"name one by its id, as the platform shows it", id)
		}
	}
	return folders, nil
}

func (e *Engine) folder(ctx context.Context, id string, owner store.Instance) (dir string, ok bool, err error) {
	instance, err := e.Store.Instance(ctx, e.Store.Pool, id)
	if store.NotFound(err) {
		return "", false, nil
	} else if err != nil {
		return "", false, fmt.Errorf("look for the instance to mount: %w", err)
	}
	if instance.Status != store.Ready || !SameTenant(instance, owner) {
		return "", false, nil
	}
	plan, err := e.plan(instance.ServiceID, instance.PlanID)
	if err != nil {
		return "", false, err
	}
	driver, err := e.driverOf(instance, plan)
	if err != nil {
		return "", false, err
	}
	if driver.Directory == nil {
		return "", false, nil
	}
	if dir, err = driver.Directory(ctx, RawInstance(instance, plan)); err != nil {
		return "", false, fmt.Errorf("find the directory of instance %q: %w", id, err)
	}
	return dir, true, nil
}

// SameTenant reports whether two instances have the same platform, organization and space,
// or cluster and namespace.
func SameTenant(a, b store.Instance) bool {
	return a.Platform == b.Platform && a.OrganizationID == b.OrganizationID && a.SpaceID == b.SpaceID &&
		NamespaceOf(a) == NamespaceOf(b)
}

// Namespace is a namespace of a Kubernetes cluster.
type Namespace struct{ ClusterID, Namespace string }

// NamespaceOf returns the cluster and namespace of an instance (OSB, "Kubernetes Context
// Object"). The context of another platform has neither.
func NamespaceOf(i store.Instance) (n Namespace) {
	_ = json.Unmarshal(i.Context, &n)
	return n
}
