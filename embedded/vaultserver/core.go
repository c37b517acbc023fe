package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/command/server"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/vault"
)

// newCore opens Vault's core over file storage in folder data; it is sealed.
func newCore(data, address string, logger hclog.Logger) (*vault.Core, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	storage, err := file.NewFileBackend(map[string]string{"path": data}, logger.Named("storage"))
	if err != nil {
		return nil, fmt.Errorf("file storage: %w", err)
	}
	engines := builtins{
		secret: map[string]logical.Factory{"kv": kv.Factory},
		auth:   map[string]logical.Factory{"approle": approle.Factory, "kubernetes": kubernetes.Factory},
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		StorageType:        "file",
		RedirectAddr:       address,
		Logger:             logger,
		BuiltinRegistry:    engines,
		LogicalBackends:    engines.secret,
		CredentialBackends: engines.auth,
		// An unprivileged user cannot lock memory, and this server keeps no
		// production secrets.
		DisableMlock: true,
		RawConfig:    &server.Config{SharedConfig: &configutil.SharedConfig{}},
	})
	if err != nil {
		return nil, fmt.Errorf("open Vault's core: %w", err)
	}
	return core, nil
}
