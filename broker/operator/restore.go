package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// Restore makes a retained instance available under the ID newID; operation.Restoration
// says which IDs are possible. id is the one that the platform knew or the retained
// instance's own, which is returned.
func (o *Operator) Restore(ctx context.Context, by Actor, id, newID string) (retained string, err error) {
	if retained, err = o.retained(ctx, id); err != nil {
		return "", err
	}
	return retained, o.Engine.Restore(ctx, operation.Restoration{RetainedID: retained, NewID: newID, Originating: json.RawMessage(by)})
}

// Purge has a running broker remove the data of a retained instance now. id is the one
// that the platform knew or the retained instance's own, which is returned.
func (o *Operator) Purge(ctx context.Context, by Actor, id string) (retained string, err error) {
	if retained, err = o.retained(ctx, id); err != nil {
		return "", err
	}
	return retained, o.Engine.Purge(ctx, retained, json.RawMessage(by))
}

// Adopt gives an existing resource of a server to an unused instance, and returns the
// steps that were taken. With dry it changes nothing and returns those that would be.
func (o *Operator) Adopt(ctx context.Context, by Actor, instanceID, resource string, dry bool) (steps []string, err error) {
	return o.Engine.Adopt(ctx, operation.Adoption{InstanceID: instanceID, Resource: resource, DryRun: dry, Originating: json.RawMessage(by)})
}

// retained finds a retained instance by its own ID or by the one that its platform knew.
func (o *Operator) retained(ctx context.Context, id string) (string, error) {
	instances, err := o.Store.RetainedInstances(ctx, o.Store.Pool, id)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, i := range instances {
		if i.ID == id {
			return id, nil
		}
		ids = append(ids, i.ID)
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("no deleted instance %q is retained; list the instances with the status %q", id, store.Retained)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%q was deleted several times; name one of these: %s", id, strings.Join(ids, ", "))
}
