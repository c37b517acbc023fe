package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
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
// engine at "secret". All its methods are safe for concurrent use.
type Vault struct {
	folder *folder
	binary string
	port   int
	tls    *VaultTLS
	logger *slog.Logger
	keys   vaultKeys
	client *api.Client
	done   chan error

	mu     sync.Mutex // serialises the start, Restart, Kill and Stop
	server *process
	closed bool
}

// StartVault runs a Vault server on the folder o.Dir until Stop, or until this
// process ends. The folder is filled at the first start; later starts go on
// with its data and its port, also after a kill -9 of whoever used it before.
func StartVault(ctx context.Context, o VaultOptions) (*Vault, error) {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	v := &Vault{folder: f, tls: o.TLS, logger: logger, done: make(chan error, 1)}
	if err := v.open(ctx, o); err != nil {
		v.Kill()
		f.close()
		return nil, err
	}
	return v, nil
}

func (v *Vault) open(ctx context.Context, o VaultOptions) (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.binary, err = v.folder.placeProgram(o.Binary, vaultProgram); err != nil {
		return err
	}
	if v.port, err = v.choosePort(ctx, o.Port); err != nil {
		return err
	}
	if err := v.placeCertificate(); err != nil {
		return err
	}
	if v.client, err = v.newClient(); err != nil {
		return err
	}
	if err := v.initialise(ctx); err != nil {
		return err
	}
	if err := v.run(ctx, dataFolder); err != nil {
		return err
	}
	return v.mountKV(ctx)
}

// Addr is the server's URL, as in VAULT_ADDR.
func (v *Vault) Addr() string {
	scheme := "http"
	if v.tls != nil {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(loopback, strconv.Itoa(v.port))
}

// CAFile is the path of the CA's certificate, as in VAULT_CACERT; empty
// without TLS.
func (v *Vault) CAFile() string {
	if v.tls == nil {
		return ""
	}
	return v.folder.path(vaultCAFile)
}

// RootToken is a token that may do everything. It is a secret.
func (v *Vault) RootToken() string { return v.keys.RootToken }

// Done receives an error when the server ends without Stop, Kill or Restart,
// and is closed by Stop.
func (v *Vault) Done() <-chan error { return v.done }

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

// Restart stops the server, whatever state it is in, and starts it again with
// the same data on the same address, unsealed.
func (v *Vault) Restart(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return fmt.Errorf("the Vault server in %s was stopped for good", v.folder.root)
	}
	if err := v.halt(ctx); err != nil {
		return err
	}
	return v.run(ctx, dataFolder)
}

// Kill ends the server by kill -9, as a crash would. Restart recovers it.
func (v *Vault) Kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if server := v.server; server != nil {
		v.server = nil
		server.kill()
	}
}

// Stop ends the server and gives the folder back. When ctx ends first the
// server is killed, which the error says. Stopping twice is no error.
func (v *Vault) Stop(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	v.closed = true
	defer v.folder.close()
	err := v.halt(ctx)
	close(v.done)
	return err
}

func (v *Vault) halt(ctx context.Context) error {
	server := v.server
	if server == nil {
		return nil
	}
	v.server = nil
	return server.stop(ctx)
}

// run starts the server on the data in folder data and unseals it.
func (v *Vault) run(ctx context.Context, data string) error {
	if err := v.start(ctx, data); err != nil {
		return err
	}
	if err := v.Unseal(ctx); err != nil {
		return err
	}
	v.logger.InfoContext(ctx, "vault started", "folder", v.folder.root, "port", v.port)
	return nil
}

func (v *Vault) start(ctx context.Context, data string) error {
	args := []string{"-listen", net.JoinHostPort(loopback, strconv.Itoa(v.port)), "-data", v.folder.childPath(data)}
	if v.tls != nil {
		args = append(args, "-tls-cert-file", v.folder.childPath(vaultCertFile), "-tls-key-file", v.folder.childPath(vaultKeyFile))
	}
	server, err := startProcess(program{
		path: v.binary, args: args, folder: v.folder, log: vaultLog,
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL,
	})
	if err != nil {
		return err
	}
	if err := v.waitReady(ctx, server); err != nil {
		server.kill()
		return err
	}
	v.server = server
	go v.watch(server)
	return nil
}

func (v *Vault) watch(server *process) {
	<-server.done
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.server != server {
		return // it was asked to end
	}
	v.server = nil
	select {
	case v.done <- server.failure():
	default: // the last end was not yet heard of
	}
}
