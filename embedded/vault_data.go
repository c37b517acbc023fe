package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	vaultKeysFile = "vault-keys.json"
	vaultProgram  = "vaultserver"
	vaultCertFile = "vault-cert.pem"
	vaultKeyFile  = "vault-key.pem"
	vaultCAFile   = "vault-ca.pem"
)

// vaultKeys is what Vault tells once, when it is initialised.
type vaultKeys struct {
	UnsealKey string `json:"unseal_key"`
	RootToken string `json:"root_token"`
}

// initialise makes the server's data where that has not been done to the end,
// and reads the keys.
func (v *Vault) initialise(ctx context.Context) error {
	_, err := os.Stat(v.folder.path(dataFolder))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := v.makeData(ctx); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("find Vault's data: %w", err)
	}
	return v.readKeys()
}

// makeData initialises a server on a folder of another name, which becomes the
// data only when the keys are safe: a crash half-way leaves nothing that cannot
// be opened.
func (v *Vault) makeData(ctx context.Context) error {
	if err := os.RemoveAll(v.folder.path(freshData)); err != nil {
		return fmt.Errorf("remove a half-made data folder: %w", err)
	}
	if err := v.folder.makeDir(freshData); err != nil {
		return err
	}
	if err := v.start(ctx, freshData); err != nil {
		return err
	}
	answer, err := v.client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialise Vault: %w", err)
	}
	keys, err := json.Marshal(vaultKeys{UnsealKey: answer.KeysB64[0], RootToken: answer.RootToken})
	if err != nil {
		return fmt.Errorf("encode Vault's keys: %w", err)
	}
	if err := v.folder.writeFile(vaultKeysFile, keys); err != nil {
		return err
	}
	if err := v.halt(ctx); err != nil {
		return err
	}
	if err := os.Rename(v.folder.path(freshData), v.folder.path(dataFolder)); err != nil {
		return fmt.Errorf("put Vault's new data in place: %w", err)
	}
	return nil
}

func (v *Vault) readKeys() error {
	content, err := v.folder.readFile(vaultKeysFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, &v.keys); err != nil || v.keys.UnsealKey == "" || v.keys.RootToken == "" {
		return fmt.Errorf("%s is missing or damaged, and Vault's data cannot be opened without it: put it back, or remove %s to start with an empty Vault",
			v.folder.path(vaultKeysFile), v.folder.path(dataFolder))
	}
	v.client.SetToken(v.keys.RootToken)
	return nil
}

func (v *Vault) placeCertificate() error {
	if v.tls == nil {
		return nil
	}
	for name, content := range map[string][]byte{
		vaultCertFile: v.tls.Certificate, vaultKeyFile: v.tls.Key, vaultCAFile: v.tls.CA,
	} {
		if err := v.folder.writeFile(name, content); err != nil {
			return err
		}
	}
	return nil
}

// choosePort returns the port to listen on, and keeps it for the next start. A
// server whose parent was killed a moment ago may still hold it.
func (v *Vault) choosePort(ctx context.Context, wanted int) (int, error) {
	kept, err := v.folder.readFile(portFile)
	if err != nil {
		return 0, err
	}
	port := wanted
	if port == 0 {
		port = firstNumber(string(kept))
	}
	if port == 0 {
		port, err = freePort(ctx)
	} else {
		err = waitPort(ctx, port)
	}
	if err != nil {
		return 0, fmt.Errorf("%w (`ss -ltnp` shows whose it is); free it, name another one, or remove %s to have one chosen", err, v.folder.path(portFile))
	}
	return port, v.folder.writeFile(portFile, fmt.Append(nil, port))
}

func waitPort(ctx context.Context, port int) error {
	const patience = 2 * time.Second
	deadline := time.Now().Add(patience)
	for {
		err := tryPort(ctx, port)
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
