package broker

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// answer answers a bind with the credentials that were just written, or with those in the
// credential store if written is nil.
func (b *Broker) answer(ctx context.Context, have store.Binding, exists bool, written *services.Credentials) (Binding, error) {
	binding := Binding{AlreadyExists: exists, Metadata: metadata(have)}
	err := b.addCredentials(ctx, have, written, &binding)
	plan, ok := b.Catalog.Plan(have.ServiceID, have.PlanID)
	if err != nil || !ok {
		return binding, err
	}
	if plan.Endpoints {
		if binding.Endpoints, err = endpoints(have.Endpoints); err != nil {
			return binding, internal("read the endpoints", err)
		}
	}
	driver, err := b.anyDriver(plan)
	switch {
	case err != nil || !driver.VolumeMounts:
	case written != nil:
		binding.VolumeMounts = written.VolumeMounts
	default:
		binding.VolumeMounts, err = b.storedVolumeMounts(ctx, have)
	}
	return binding, err
}

// endpoints decodes a binding's endpoints; their ports are never null.
func endpoints(raw json.RawMessage) (all []services.Endpoint, err error) {
	err = json.Unmarshal(raw, &all)
	for i := range all {
		all[i].Ports = append([]string{}, all[i].Ports...)
	}
	return all, err
}

// addCredentials adds the binding's credentials, or where its application reads them.
func (b *Broker) addCredentials(ctx context.Context, have store.Binding, written *services.Credentials, to *Binding) error {
	if have.Delivery != credhub.Inline {
		d, ok := b.Deliveries[have.Delivery]
		if !ok {
			return internal("deliver the credentials", errors.New("delivery "+have.Delivery+" is not set up in this catalog"))
		}
		r := operation.Reader(have)
		to.Credentials, to.Metadata.Attributes = d.Reference(r), d.Attributes(r)
		return nil
	}
	if written != nil {
		to.Credentials = written.Values
		return nil
	}
	value, err := b.secret(ctx, have, credhub.CredentialsPath(have.InstanceID, have.ID))
	to.Credentials = value
	return err
}

// secret reads one of a binding's secrets.
func (b *Broker) secret(ctx context.Context, have store.Binding, path credhub.Path) (json.RawMessage, error) {
	value, err := b.Credentials.Get(ctx, path)
	if errors.Is(err, credhub.ErrNotFound) {
		return nil, b.missingCredentials(ctx, have, err)
	} else if err != nil {
		return nil, &Error{Kind: Unavailable, Description: "the credential store does not answer; repeat the request later", Cause: err}
	}
	return value, nil
}

// storedVolumeMounts reads the binding's volume mounts.
func (b *Broker) storedVolumeMounts(ctx context.Context, have store.Binding) ([]services.VolumeMount, error) {
	value, err := b.secret(ctx, have, credhub.VolumeMountsPath(have.InstanceID, have.ID))
	if err != nil {
		return nil, err
	}
	var stored operation.VolumeMounts
	if err := json.Unmarshal(value, &stored); err != nil {
		return nil, internal("read the volume mounts", errors.New("the stored volume mounts have another form"))
	}
	return stored.VolumeMounts, nil
}

// missingCredentials answers if a binding that was ready a moment ago has no credentials:
// it is being deleted, or the store has lost them.
func (b *Broker) missingCredentials(ctx context.Context, have store.Binding, cause error) error {
	active, err := b.Store.UnfinishedOperations(ctx, b.Store.Pool, have.InstanceID)
	if err != nil {
		return stateError("read the instance's operations", err)
	}
	_, err = b.Store.Binding(ctx, b.Store.Pool, have.ID)
	if store.NotFound(err) || store.On(active, have.ID) != nil || isBusy(active) {
		return fail(Concurrency, "the binding is being deleted")
	}
	b.Logger.ErrorContext(ctx, "the credential store has no credentials of a binding that is ready; 'chandler orphans' says whether its login is there",
		"instance_id", have.InstanceID, "binding_id", have.ID, "error", cause.Error())
	return fail(Conflict, "the credentials of this binding are lost; delete the binding and create another one")
}
