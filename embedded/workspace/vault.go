package workspace

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler"
	"github.com/chandler-broker/chandler/embedded"
)

// VaultHeader is the file with the HTTP header that gives access to everything in the folder's
// Vault, for curl -H @file: a token on the command line would appear in the list of processes.
const VaultHeader = "vault.header"

// startVault starts a Vault server, and gives the broker a token of its own with the policy of
// production.
func (s *Servers) startVault(ctx context.Context) error {
	_, _ = fmt.Fprintln(s.progress, "building the Vault server (some minutes the first time)")
	binary, err := embedded.BuildVault(ctx, s.progress)
	if err != nil {
		return err
	}
	f := s.folder
	if s.Vault, err = embedded.StartVault(ctx, embedded.VaultOptions{Dir: f.Path("vault"), Binary: binary}); err != nil {
		return err
	}
	f.Settings.Environment["VAULT_ADDR"] = s.Vault.Addr()
	if f.Settings.Environment["VAULT_TOKEN"], err = brokerToken(ctx, s.Vault); err != nil {
		return err
	}
	return f.writeFile(VaultHeader, []byte("X-Vault-Token: "+s.Vault.RootToken()+"\n"))
}

func brokerToken(ctx context.Context, v *embedded.Vault) (string, error) {
	client, err := api.NewClient(&api.Config{Address: v.Addr()})
	if err != nil {
		return "", fmt.Errorf("reach the Vault server: %w", err)
	}
	client.SetToken(v.RootToken())
	if err := client.Sys().PutPolicyWithContext(ctx, "chandler", chandler.VaultPolicy()); err != nil {
		return "", fmt.Errorf("write the broker's policy to Vault: %w", err)
	}
	made, err := client.Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{
		Policies: []string{"chandler"}, Period: "1h", DisplayName: "chandler", NoParent: true,
	})
	if err != nil {
		return "", fmt.Errorf("make the broker's token in Vault: %w", err)
	}
	return made.Auth.ClientToken, nil
}
