package brokertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
)

// Delivery is a delivery to a store in memory, whose hooks can make it fail.
type Delivery struct{ Store *credtest.Memory }

var _ credhub.Delivery = Delivery{}

// Check implements credhub.Delivery.
func (Delivery) Check(r credhub.Reader) error {
	if r.AppID == "" && r.ClientID == "" {
		return errors.New("the binding has no reader")
	}
	return nil
}

// DeliveredPath is the path of the reader's credentials in the store. As with Vault, it does
// not depend on the instance.
func DeliveredPath(r credhub.Reader) credhub.Path {
	return credhub.OwnerPath("cloudfoundry", cmp.Or(r.AppID, r.ClientID), r.BindingID)
}

// Deliver implements credhub.Delivery.
func (d Delivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	return d.Store.Put(ctx, DeliveredPath(r), value)
}

// Reference implements credhub.Delivery.
func (Delivery) Reference(r credhub.Reader) map[string]any {
	return map[string]any{credhub.CredHubRef: "/" + r.InstanceID + "/" + r.BindingID + "/" + r.AppID + r.ClientID}
}

// Attributes implements credhub.Delivery.
func (Delivery) Attributes(r credhub.Reader) map[string]any {
	if r.AppID == "" {
		return nil
	}
	return map[string]any{"reader": r.AppID}
}

// Withdraw implements credhub.Delivery.
func (d Delivery) Withdraw(ctx context.Context, r credhub.Reader) error {
	if err := d.Check(r); err != nil {
		return err
	}
	return d.Store.Delete(ctx, DeliveredPath(r))
}

// Ready implements credhub.Delivery.
func (d Delivery) Ready(ctx context.Context) error { return d.Store.Ready(ctx) }
