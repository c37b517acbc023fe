package broker

import (
	"context"
	"encoding/json"
	"errors"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// answer answers a bind with the credentials that were just written, or with those in the
// credential store if written is nil.
func (b *Broker) answer(ctx context.Context, have store.Binding, exists bool, written *services.Credentials) (domain.Binding, error) {
	value, err := b.credentials(ctx, have, written)
	if err != nil {
		return domain.Binding{}, err
	}
	binding := domain.Binding{AlreadyExists: exists, Credentials: value, Metadata: metadata(have)}
	plan, ok := b.Catalog.Plan(have.ServiceID, have.PlanID)
	if !ok {
		return binding, nil
	}
	if plan.Endpoints {
		if err := json.Unmarshal(have.Endpoints, &binding.Endpoints); err != nil {
			return domain.Binding{}, internal("read the endpoints", err)
		}
	}
	driver, err := b.anyDriver(plan)
	switch {
	case err != nil || !driver.VolumeMounts:
	case written != nil:
		binding.VolumeMounts = volumeMounts(written.VolumeMounts)
	default:
		binding.VolumeMounts, err = b.storedVolumeMounts(ctx, have)
	}
	return binding, err
}

// credentials returns the binding's credentials, or where its application reads them.
func (b *Broker) credentials(ctx context.Context, have store.Binding, written *services.Credentials) (any, error) {
	if have.Delivery != credhub.Inline {
		d, ok := b.Deliveries[have.Delivery]
		if !ok {
			return nil, internal("deliver the credentials", errors.New("delivery "+have.Delivery+" is not set up in this catalog"))
		}
		r := operation.Reader(have)
		return Reference{d.Reference(r), d.Attributes(r)}, nil
	}
	if written != nil {
		value, err := json.Marshal(written.Values)
		return json.RawMessage(value), err
	}
	value, err := b.Credentials.Get(ctx, credhub.CredentialsPath(have.InstanceID, have.ID))
	if errors.Is(err, credhub.ErrNotFound) {
		return nil, b.missingCredentials(ctx, have, err)
	} else if err != nil {
		return nil, credentialStoreError(err)
	}
	return value, nil
}

// storedVolumeMounts reads the binding's volume mounts.
func (b *Broker) storedVolumeMounts(ctx context.Context, have store.Binding) ([]domain.VolumeMount, error) {
	value, err := b.Credentials.Get(ctx, credhub.VolumeMountsPath(have.InstanceID, have.ID))
	if errors.Is(err, credhub.ErrNotFound) {
		return nil, b.missingCredentials(ctx, have, err)
	} else if err != nil {
		return nil, credentialStoreError(err)
	}
	var stored operation.VolumeMounts
	if err := json.Unmarshal(value, &stored); err != nil {
		return nil, internal("read the volume mounts", errors.New("the stored volume mounts have another form"))
	}
	return volumeMounts(stored.VolumeMounts), nil
}

// volumeMounts are a binding's volume mounts as the answer has them.
func volumeMounts(stored []services.VolumeMount) []domain.VolumeMount {
	mounts := make([]domain.VolumeMount, 0, len(stored))
	for _, m := range stored {
		mounts = append(mounts, domain.VolumeMount{
			Driver: m.Driver, ContainerDir: m.ContainerDir, Mode: m.Mode, DeviceType: m.DeviceType,
			Device: domain.SharedDevice{VolumeId: m.Device.VolumeID, MountConfig: m.Device.MountConfig},
		})
	}
	return mounts
}

func credentialStoreError(cause error) error {
	return &Error{Kind: Unavailable, Description: "the credential store does not answer; repeat the request later", Cause: cause}
}

// missingCredentials answers if a binding that was ready a moment ago has no credentials:
// it is being deleted, or the store has lost them.
func (b *Broker) missingCredentials(ctx context.Context, have store.Binding, cause error) error {
	active, err := b.Store.UnfinishedOperations(ctx, b.Store.Pool, have.InstanceID)
	if err != nil {
		return stateError("read the instance's operations", err)
	}
	_, err = b.Store.Binding(ctx, b.Store.Pool, have.ID)
	if store.NotFound(err) || store.On(active, have.ID) != nil || store.On(active, "") != nil {
		return fail(Concurrency, "the binding is being deleted")
	}
	b.Logger.ErrorContext(ctx, "the credential store has no credentials of a binding that is ready; 'chandler orphans' says whether its login is there",
		"instance_id", have.InstanceID, "binding_id", have.ID, "error", cause.Error())
	return fail(Conflict, "the credentials of this binding are lost; delete the binding and create another one")
}
