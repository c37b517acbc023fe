package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/cfcredhub"
	"github.com/chandler-broker/chandler/credhub/sealed"
	"github.com/chandler-broker/chandler/credhub/vault"
	"github.com/chandler-broker/chandler/services/all"
)

// implementations are the backends, credential stores and deliveries of this program.
func implementations() server.Implementations {
	return server.Implementations{Backends: all.Definitions(), CredentialStore: credentialStore, Deliveries: deliveries}
}

// credentialStore is Vault if VAULT_ADDR is set, and otherwise sealed in the state.
func credentialStore(lookup func(string) (string, bool)) (server.CredentialStore, error) {
	if address, _ := lookup("VAULT_ADDR"); address != "" {
		config, err := vault.FromEnv(lookup)
		if err != nil {
			return server.CredentialStore{}, usageError{err}
		}
		return server.CredentialStore{Open: func(ctx context.Context, _ *pgxpool.Pool, log *slog.Logger) (credhub.Store, func(), error) {
			config.Logger = log
			v, err := vault.Open(ctx, config)
			if err != nil {
				return nil, nil, err
			}
			return v, func() { _ = v.Close() }, nil
		}}, nil
	}
	in := server.CredentialStore{InState: true}
	text, err := sealedKeys(lookup)
	if err != nil {
		return in, err
	}
	keys, err := sealed.ParseKeys(text)
	if err != nil {
		return in, usageError{err}
	}
	in.Open = func(ctx context.Context, state *pgxpool.Pool, _ *slog.Logger) (credhub.Store, func(), error) {
		s, err := sealed.Open(ctx, state, keys)
		return s, func() {}, err
	}
	return in, nil
}

func sealedKeys(lookup func(string) (string, bool)) ([]byte, error) {
	if key, ok := lookup("CHANDLER_SEALED_KEY"); ok && key != "" {
		return []byte(key), nil
	}
	path, ok := lookup("CHANDLER_SEALED_KEY_FILE")
	if !ok || path == "" {
		return nil, usagef("no credential store: set VAULT_ADDR, or CHANDLER_SEALED_KEY or CHANDLER_SEALED_KEY_FILE " +
			"(32 random bytes in base64, as 'openssl rand -base64 32' prints them)")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("CHANDLER_SEALED_KEY_FILE: %w", err)
	}
	return text, nil
}

// deliveries makes the catalog's deliveries; with a nil store only those that need none.
func deliveries(c *catalog.Catalog, store credhub.Store) (map[string]credhub.Delivery, error) {
	made := map[string]credhub.Delivery{}
	if d := c.Deliveries().CredHub; d != nil {
		hub, err := cfcredhub.New(cfcredhub.Config{
			URL: d.URL, CAFile: d.CAFile, CertificateFile: d.CertificateFile, KeyFile: d.KeyFile,
			ClientID: d.ClientID, ClientSecret: d.ClientSecret, Prefix: d.Prefix,
		})
		if err != nil {
			return nil, usagef("delivery: %w", err)
		}
		made[credhub.CredHubRef] = hub
	}
	if d := c.Deliveries().Vault; d != nil && store != nil {
		v, ok := store.(*vault.Store)
		if !ok {
			return nil, usagef("delivery vault-ref needs Vault as the credential store: set VAULT_ADDR")
		}
		delivery, err := vault.NewDelivery(v, vault.DeliveryConfig{
			Address: d.Address, Namespace: d.Namespace, Prefix: d.Prefix,
			CloudFoundry: vaultLogin(d.CloudFoundry), Kubernetes: vaultLogin(d.Kubernetes),
		})
		if err != nil {
			return nil, usagef("delivery: %w", err)
		}
		made[credhub.VaultRef] = delivery
	}
	return made, nil
}

func vaultLogin(l *catalog.VaultLogin) *vault.Login {
	if l == nil {
		return nil
	}
	return &vault.Login{Mount: l.Mount, Role: l.Role, VaultAuth: l.VaultAuth}
}
