package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"

	"github.com/hashicorp/vault/api"
)

const (
	vaultLog   = "vault.log"
	vaultMount = "secret"
)

// VaultOptions says how a Vault server is to be run.
type VaultOptions struct {
	// Binary is what BuildVault returned.
	Binary string
	// Dir is the server's folder; it is made where it does not exist, and
	// belongs to the server alone. It holds the keys that open the server's
	// data: this Vault is for development and tests.
	Dir string
	// Port is where the server listens on loopback. 0: the port of the last
	// start on this folder, a free one at the first.
	Port int
	// TLS makes the server speak HTTPS; nil: plain HTTP.
	TLS *VaultTLS
	// Logger may be nil.
	Logger *slog.Logger
}

// VaultTLS is a server's identity, in PEM. The certificate must be good for
// 127.0.0.1.
type VaultTLS struct {
	// Certificate is the server's, with the chain behind it, and Key its
	// private key.
	Certificate, Key []byte
	// CA is whom clients have to trust.
	CA []byte
}

// Vault is a running Vault server, initialised and unsealed, with a KV version 2
// engine at "secret"; Restart unseals it again. All its methods are safe for
// concurrent use.
type Vault struct {
	*child
	options VaultOptions
	binary  string
	data    string // the folder that the server is started on
	port    int
	keys    vaultKeys
	client  *api.Client
}

// StartVault runs a Vault server on the folder o.Dir until Stop, or until this
// process ends. The folder is filled at the first start; later starts go on
// with its data and its port, also after a kill -9 of whoever used it before.
func StartVault(ctx context.Context, o VaultOptions) (*Vault, error) {
	c, err := newChild("Vault server", o.Dir, o.Logger)
	if err != nil {
		return nil, err
	}
	v := &Vault{child: c, options: o}
	if err := v.open(ctx, childParts{program: v.program, ready: v.ready, serving: v.serving}, v.fill); err != nil {
		return nil, err
	}
	if err := v.mountKV(ctx); err != nil {
		return nil, errors.Join(err, v.Stop(ctx))
	}
	return v, nil
}

// Addr is the server's URL, as in VAULT_ADDR.
func (v *Vault) Addr() string {
	scheme := "http"
	if v.options.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + localAddress(v.port)
}

// CAFile is the path of the CA's certificate, as in VAULT_CACERT; empty
// without TLS.
func (v *Vault) CAFile() string {
	if v.options.TLS == nil {
		return ""
	}
	return v.folder.path(vaultCAFile)
}

// RootToken is a token that may do everything. It is a secret.
func (v *Vault) RootToken() string { return v.keys.RootToken }

// Seal seals the server: it answers 503 to everything until Unseal.
func (v *Vault) Seal(ctx context.Context) error {
	if err := v.client.Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("seal Vault: %w", err)
	}
	return nil
}

// Unseal opens the server's data. Unsealing twice is no error.
func (v *Vault) Unseal(ctx context.Context) error {
	status, err := v.client.Sys().UnsealWithContext(ctx, v.keys.UnsealKey)
	if err != nil {
		return fmt.Errorf("unseal Vault: %w", err)
	}
	if status.Sealed {
		return errors.New("unseal Vault: it is still sealed, its data is not what the key was made for")
	}
	return nil
}

func (v *Vault) program() program {
	args := []string{"-listen", localAddress(v.port), "-data", v.folder.childPath(v.data)}
	if v.options.TLS != nil {
		args = append(args, "-tls-cert-file", v.folder.childPath(vaultCertFile), "-tls-key-file", v.folder.childPath(vaultKeyFile))
	}
	return program{
		path: v.binary, args: args, folder: v.folder, log: vaultLog,
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL,
	}
}

// serving opens the data, which every start leaves sealed.
func (v *Vault) serving(ctx context.Context) error {
	if err := v.Unseal(ctx); err != nil {
		return err
	}
	v.logger.InfoContext(ctx, "vault started", "folder", v.folder.root, "port", v.port)
	return nil
}
