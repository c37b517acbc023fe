package embedded

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/vault/api"
)

const (
	vaultKeysFile = "vault-keys.json"
	vaultProgram  = "vaultserver"
	vaultCertFile = "vault-cert.pem"
	vaultKeyFile  = "vault-key.pem"
	vaultCAFile   = "vault-ca.pem"
)

// vaultKeys are in Vault's response to its initialization, and nowhere else.
type vaultKeys struct {
	UnsealKey string `json:"unseal_key"`
	RootToken string `json:"root_token"`
}

// fill makes the server's data, and reads the keys.
func (v *Vault) fill(ctx context.Context) (err error) {
	if v.binary, err = v.folder.placeProgram(v.options.Binary, vaultProgram); err != nil {
		return err
	}
	if err := v.placeCertificate(); err != nil {
		return err
	}
	if v.client, err = v.newClient(); err != nil {
		return err
	}
	if err := v.folder.makeData(ctx, v.initialize); err != nil {
		return err
	}
	v.data = dataFolder
	return v.readKeys()
}

// initialize has a server fill the new data folder, which becomes the data only once the keys
// are stored: a crash leaves no data that cannot be opened.
func (v *Vault) initialize(ctx context.Context) error {
	v.data = freshData
	if err := v.launch(ctx); err != nil {
		return err
	}
	answer, err := v.client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialize Vault: %w", err)
	}
	keys, err := json.Marshal(vaultKeys{UnsealKey: answer.KeysB64[0], RootToken: answer.RootToken})
	if err != nil {
		return fmt.Errorf("encode Vault's keys: %w", err)
	}
	if err := v.folder.writeFile(vaultKeysFile, keys); err != nil {
		return err
	}
	return v.stopProcess(ctx)
}

func (v *Vault) readKeys() error {
	content, err := v.folder.readFile(vaultKeysFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, &v.keys); err != nil || v.keys.UnsealKey == "" || v.keys.RootToken == "" {
		return fmt.Errorf("%s is missing or damaged, and Vault's data cannot be opened without it: restore it, or remove %s to start with an empty Vault",
			v.folder.path(vaultKeysFile), v.folder.path(dataFolder))
	}
	v.client.SetToken(v.keys.RootToken)
	return nil
}

func (v *Vault) placeCertificate() error {
	if v.options.TLS == nil {
		return nil
	}
	return v.folder.writeFiles(map[string][]byte{
		vaultCertFile: v.options.TLS.Certificate, vaultKeyFile: v.options.TLS.Key, vaultCAFile: v.options.TLS.CA,
	})
}
