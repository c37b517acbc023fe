package embedded

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
)

// newClient makes a client that administers the server. It ignores the environment's address,
// token, CA and namespace, which are another Vault's.
func (v *Vault) newClient() (*api.Client, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if v.options.TLS != nil {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(v.options.TLS.CA) {
			return nil, errors.New("the CA of Vault's certificate must be in PEM")
		}
	}
	client, err := api.NewClient(&api.Config{
		Address:    v.Addr(),
		HttpClient: &http.Client{Transport: transport},
		Timeout:    10 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("make a client for Vault (it reads the VAULT_ variables, too): %w", err)
	}
	client.ClearNamespace()
	return client, nil
}

// ready says whether the server answers, sealed or not.
func (v *Vault) ready(ctx context.Context, _ int) bool {
	_, err := v.client.Sys().SealStatusWithContext(ctx)
	return err == nil
}

// mountKV mounts the KV engine if necessary, and waits until it serves: for about a second it
// returns errors.
func (v *Vault) mountKV(ctx context.Context) error {
	mounts, err := v.client.Sys().ListMountsWithContext(ctx)
	if err != nil {
		return fmt.Errorf("list Vault's mounts: %w", err)
	}
	if mounts[vaultMount+"/"] == nil {
		kv := &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}
		if err := v.client.Sys().MountWithContext(ctx, vaultMount, kv); err != nil {
			return fmt.Errorf("mount the KV engine: %w", err)
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err = v.client.Logical().ReadWithContext(ctx, vaultMount+"/config"); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the KV engine did not become ready: %w", errors.Join(err, ctx.Err()))
		}
	}
}
