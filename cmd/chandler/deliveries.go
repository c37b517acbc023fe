package main

import (
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/tracing"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/cfcredhub"
	"github.com/chandler-broker/chandler/credhub/vault"
)

// credHub makes the CredHub of the catalog, nil where there is none. It makes no
// outside call.
func credHub(c *catalog.Catalog) (*cfcredhub.Store, error) {
	d := c.Deliveries().CredHub
	if d == nil {
		return nil, nil
	}
	s, err := cfcredhub.New(cfcredhub.Config{
		URL: d.URL, CAFile: d.CAFile, CertificateFile: d.CertificateFile, KeyFile: d.KeyFile,
		ClientID: d.ClientID, ClientSecret: d.ClientSecret, Prefix: d.Prefix,
	})
	if err != nil {
		return nil, usageError{fmt.Errorf("delivery: %w", err)}
	}
	return s, nil
}

// openDeliveries opens the ways in which credentials get to applications. The
// credential store is open.
func (a *app) openDeliveries(ctx context.Context, store credhub.Store) error {
	a.deliveries = map[string]credhub.Delivery{}
	hub, err := credHub(a.catalog)
	if err != nil {
		return err
	}
	if hub != nil {
		a.deliveries[credhub.CredHubRef] = tracing.Delivery(credhub.CredHubRef, hub)
	}
	if d := a.catalog.Deliveries().Vault; d != nil {
		v, ok := store.(*vault.Store)
		if !ok {
			return usagef("delivery vault-ref needs Vault as the credential store: set VAULT_ADDR")
		}
		login := func(l *catalog.VaultLogin) *vault.Login {
			if l == nil {
				return nil
			}
			return &vault.Login{Mount: l.Mount, Role: l.Role, VaultAuth: l.VaultAuth}
		}
		delivery, err := vault.NewDelivery(v, vault.DeliveryConfig{
			Address: d.Address, Namespace: d.Namespace, Prefix: d.Prefix,
			CloudFoundry: login(d.CloudFoundry), Kubernetes: login(d.Kubernetes),
		})
		if err != nil {
			return usageError{fmt.Errorf("delivery: %w", err)}
		}
		a.deliveries[credhub.VaultRef] = tracing.Delivery(credhub.VaultRef, delivery)
	}
	return a.checkDeliveries(ctx)
}

// checkDeliveries refuses a catalog without a way in which bindings are
// delivered: what they left there could not be withdrawn.
func (a *app) checkDeliveries(ctx context.Context) error {
	used, err := a.store.DeliveriesInUse(ctx, a.store.Pool)
	if err != nil {
		return fmt.Errorf("read the deliveries in use: %w", err)
	}
	for _, u := range used {
		if _, ok := a.deliveries[u.Delivery]; !ok && u.Delivery != credhub.Inline {
			return usagef("%d bindings are delivered by %s, which the catalog does not set up any more: put it back under delivery, "+
				"until they are unbound; plans and platforms may have another delivery meanwhile", u.Bindings, u.Delivery)
		}
	}
	return nil
}
