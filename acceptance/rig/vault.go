package rig

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// secretRoot is the brokers' folder in Vault.
const secretRoot = "chandler"

// setUpVault starts Vault, and gives the brokers an AppRole with the shipped policy. Its tokens are
// short-lived, so that every run renews them and logs in again.
func (d *Deployment) setUpVault(ctx context.Context) (err error) {
	d.Vault, err = embedded.StartVault(ctx, embedded.VaultOptions{Dir: d.path("vault"), Binary: d.Options.Vault})
	if err != nil {
		return err
	}
	d.Secrets.Add("Vault's root token", d.Vault.RootToken())
	if d.VaultProxy, err = servicetest.StartProxy(strings.TrimPrefix(d.Vault.Addr(), "http://")); err != nil {
		return err
	}
	root, err := d.root()
	if err != nil {
		return err
	}
	if err := root.Sys().EnableAuthWithOptionsWithContext(ctx, "approle", &api.EnableAuthOptions{Type: "approle"}); err != nil {
		return fmt.Errorf("enable AppRole: %w", err)
	}
	if err := root.Sys().PutPolicyWithContext(ctx, "chandler", chandler.VaultPolicy()); err != nil {
		return fmt.Errorf("write the policy: %w", err)
	}
	return d.makeRole(ctx, root)
}

func (d *Deployment) makeRole(ctx context.Context, root *api.Client) error {
	const role = "auth/approle/role/chandler"
	_, err := root.Logical().WriteWithContext(ctx, role, map[string]any{
		"token_policies": "chandler", "token_no_default_policy": true, "token_ttl": "20s", "token_max_ttl": "60s",
	})
	if err != nil {
		return fmt.Errorf("make the role: %w", err)
	}
	id, err := root.Logical().ReadWithContext(ctx, role+"/role-id")
	if err != nil {
		return fmt.Errorf("read the role's id: %w", err)
	}
	secret, err := root.Logical().WriteWithContext(ctx, role+"/secret-id", nil)
	if err != nil {
		return fmt.Errorf("make the role's secret id: %w", err)
	}
	d.env["VAULT_ADDR"] = "http://" + d.VaultProxy.Address()
	d.env["VAULT_AUTH_METHOD"] = "approle"
	d.env["VAULT_ROLE_ID"], _ = id.Data["role_id"].(string)
	d.env["VAULT_SECRET_ID"], _ = secret.Data["secret_id"].(string)
	d.Secrets.Add("Vault's secret id", d.env["VAULT_SECRET_ID"])
	return nil
}

// root is a client with all permissions, without the proxy.
func (d *Deployment) root() (*api.Client, error) {
	client, err := api.NewClient(&api.Config{Address: d.Vault.Addr()})
	if err != nil {
		return nil, fmt.Errorf("make a client for Vault: %w", err)
	}
	client.SetToken(d.Vault.RootToken())
	return client, nil
}

// VaultTree returns the paths of everything below the brokers' folder in Vault, including what is deleted
// but recoverable.
func (d *Deployment) VaultTree(ctx context.Context) ([]string, error) {
	client, err := d.root()
	if err != nil {
		return nil, err
	}
	tree := []string{}
	return tree, walk(ctx, client, "", &tree)
}

func walk(ctx context.Context, client *api.Client, folder string, tree *[]string) error {
	list, err := client.Logical().ListWithContext(ctx, path.Join("secret/metadata", secretRoot, folder))
	if err != nil {
		return fmt.Errorf("list Vault's secrets: %w", err)
	}
	if list == nil {
		return nil
	}
	keys, _ := list.Data["keys"].([]any)
	for _, key := range keys {
		name, _ := key.(string)
		if !strings.HasSuffix(name, "/") {
			*tree = append(*tree, path.Join(folder, name))
		} else if err := walk(ctx, client, path.Join(folder, name), tree); err != nil {
			return err
		}
	}
	return nil
}

// VaultVersions returns the number of a secret's versions in Vault, including deleted ones, and the data of
// the latest.
func (d *Deployment) VaultVersions(ctx context.Context, secret string) (versions int, data map[string]any, err error) {
	client, err := d.root()
	if err != nil {
		return 0, nil, err
	}
	kv := client.KVv2("secret")
	list, err := kv.GetVersionsAsList(ctx, path.Join(secretRoot, secret))
	if err != nil && strings.Contains(err.Error(), "not found") {
		return 0, nil, nil
	} else if err != nil {
		return 0, nil, fmt.Errorf("read Vault's versions: %w", err)
	}
	latest, err := kv.Get(ctx, path.Join(secretRoot, secret))
	if err != nil {
		return len(list), nil, fmt.Errorf("read from Vault: %w", err)
	}
	return len(list), latest.Data, nil
}

// SeedSecret records a binding's seed as a secret, if Vault has it.
func (d *Deployment) SeedSecret(ctx context.Context, instanceID, bindingID string) error {
	if d.Vault == nil {
		return nil
	}
	_, data, err := d.VaultVersions(ctx, path.Join("instances", instanceID, "bindings", bindingID, "seed"))
	if err != nil {
		return err
	}
	text, _ := data["seed"].(string)
	if seed, err := base64.StdEncoding.DecodeString(text); err == nil && len(seed) > 0 {
		d.Secrets.Add("seed of binding "+bindingID, text)
		d.Secrets.Add("seed of binding "+bindingID+", in hexadecimal", hex.EncodeToString(seed))
	}
	return nil
}
