package embedded

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	if ended := poll(ctx, func() bool {
		_, err = v.client.Logical().ReadWithContext(ctx, vaultMount+"/config")
		return err == nil
	}); ended != nil {
		return fmt.Errorf("the KV engine did not become ready: %w", errors.Join(err, ended))
	}
	return nil
}
