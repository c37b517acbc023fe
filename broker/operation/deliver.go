package operation

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Reader returns the reader of a binding's credentials.
func Reader(b store.Binding) credhub.Reader {
	var resource struct {
		ClientID string `json:"credential_client_id"`
	}
	var platform struct{ Platform, Namespace string }
	// Members of another type say nothing of the reader.
	_ = json.Unmarshal(b.BindResource, &resource)
	_ = json.Unmarshal(b.Context, &platform)
	return credhub.Reader{
		InstanceID: b.InstanceID, BindingID: b.ID, AppID: b.AppID, ClientID: resource.ClientID,
		Platform: platform.Platform, Namespace: platform.Namespace,
	}
}

// deliver puts the credentials where their application reads them.
func (e *Engine) deliver(ctx context.Context, b store.Binding, c services.Credentials) error {
	d, err := e.delivery(b)
	if err != nil || d == nil {
		return err
	}
	value, err := json.Marshal(c.Values)
	if err != nil {
		return fmt.Errorf("encode the credentials: %w", err)
	}
	if err := d.Deliver(ctx, Reader(b), value); err != nil {
		return fmt.Errorf("deliver the credentials: %w", err)
	}
	return nil
}

// withdraw removes the credentials that deliver put somewhere.
func (e *Engine) withdraw(ctx context.Context, b store.Binding) error {
	d, err := e.delivery(b)
	if err != nil || d == nil {
		return err
	}
	if err := d.Withdraw(ctx, Reader(b)); err != nil {
		return fmt.Errorf("withdraw the credentials: %w", err)
	}
	return nil
}

// delivery returns the binding's delivery; nil if its credentials are inline.
func (e *Engine) delivery(b store.Binding) (credhub.Delivery, error) {
	d, ok := e.Deliveries[b.Delivery]
	if !ok && b.Delivery != credhub.Inline {
		return nil, fmt.Errorf("the binding's credentials are delivered by %s, which this catalog does not set up", b.Delivery)
	}
	return d, nil
}
