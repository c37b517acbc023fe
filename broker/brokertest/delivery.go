package brokertest

import (
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

// Deliver implements credhub.Delivery.
func (d Delivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	return d.Held.Put(ctx, credhub.CredentialsPath(r.InstanceID, r.BindingID), value)
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
	return d.Held.Delete(ctx, credhub.CredentialsPath(r.InstanceID, r.BindingID))
}

// Ready implements credhub.Delivery.
func (d Delivery) Ready(ctx context.Context) error { return d.Held.Ready(ctx) }
