package brokertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"github.com/chandler-broker/chandler/credhub"
)

// Delivery is a delivery that keeps what it is given in memory, and fails where the
// test says, by the hooks of Held.
type Delivery struct{ Held *Credentials }

var _ credhub.Delivery = Delivery{}

// Check implements credhub.Delivery.
func (Delivery) Check(r credhub.Reader) error {
	if r.AppID == "" && r.ClientID == "" {
		return errors.New("nobody could read")
	}
	return nil
}

// DeliveredPath is where in Held the reader finds its credentials: as with Vault,
// the instance has no part in it.
func DeliveredPath(r credhub.Reader) credhub.Path {
	return credhub.OwnerPath("cloudfoundry", cmp.Or(r.AppID, r.ClientID), r.BindingID)
}

// Deliver implements credhub.Delivery.
func (d Delivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	return d.Held.Put(ctx, DeliveredPath(r), value)
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
	if err := d.Check(r); err != nil { // whom it was delivered to
		return err
	}
	return d.Held.Delete(ctx, DeliveredPath(r))
}

// Ready implements credhub.Delivery.
func (d Delivery) Ready(ctx context.Context) error { return d.Held.Ready(ctx) }
