package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"
)

const (
	vaultLog   = "vault.log"
	vaultMount = "secret"
)

// VaultOptions are those of a Vault server.
type VaultOptions struct {
	// Binary is what BuildVault returned.
	Binary string
	// Dir is the server's folder, as in Options. It contains the keys of the server's data:
	// this Vault is for development and tests.
	Dir string
	// TLS makes the server speak HTTPS; nil: plain HTTP.
	TLS *TLS
}

// Vault is a running Vault server, initialized and unsealed, with a KV version 2 engine at
// "secret"; Restart unseals it again. It is safe for concurrent use.
type Vault struct {
	child
	options VaultOptions
	binary  string
	data    string // the folder on which the server starts
	keys    vaultKeys
	client  *api.Client
}

// StartVault runs a Vault server until Stop, or until this process ends.
func StartVault(ctx context.Context, o VaultOptions) (*Vault, error) {
	v := &Vault{options: o}
	v.title = "Vault server"
	return startServer(ctx, o.Dir, v)
}

// Addr is the server's URL, as in VAULT_ADDR.
func (v *Vault) Addr() string {
	scheme := "http"
	if v.options.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + v.Address()
}

// CAFile is the path of the CA's certificate, as in VAULT_CACERT; empty without TLS.
func (v *Vault) CAFile() string {
	if v.options.TLS == nil {
		return ""
	}
	return v.folder.path(vaultCAFile)
}

// RootToken is a token with all permissions. It is a secret.
func (v *Vault) RootToken() string { return v.keys.RootToken }

// Seal seals the server, which answers every request with 503 until Unseal.
func (v *Vault) Seal(ctx context.Context) error {
	if err := v.client.Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("seal Vault: %w", err)
	}
	return nil
}

// Unseal opens the server's data. A second Unseal does nothing.
func (v *Vault) Unseal(ctx context.Context) error {
	status, err := v.client.Sys().UnsealWithContext(ctx, v.keys.UnsealKey)
	if err != nil {
		return fmt.Errorf("unseal Vault: %w", err)
	}
	if status.Sealed {
		return errors.New("unseal Vault: it is still sealed, because its data belongs to another key")
	}
	return nil
}

func (v *Vault) program() program {
	args := []string{"-listen", v.Address(), "-data", v.folder.childPath(v.data)}
	if v.options.TLS != nil {
		args = append(args, "-tls-cert-file", v.folder.childPath(vaultCertFile), "-tls-key-file", v.folder.childPath(vaultKeyFile))
	}
	return program{path: v.binary, args: args, log: vaultLog}
}

// serving unseals the server, because every start leaves it sealed, and mounts the engine.
func (v *Vault) serving(ctx context.Context) error {
	if err := v.Unseal(ctx); err != nil {
		return err
	}
	return v.mountKV(ctx)
}
