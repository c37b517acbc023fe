package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/command/server"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/vault"
)

// newCore opens Vault's core, sealed, over file storage in the folder data.
func newCore(data, address string, logger hclog.Logger) (*vault.Core, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := sweep(data); err != nil {
		return nil, err
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
		// An unprivileged user cannot lock memory, and this server has no production secrets.
		DisableMlock: true,
		RawConfig:    &server.Config{SharedConfig: &configutil.SharedConfig{}},
	})
	if err != nil {
		return nil, fmt.Errorf("open Vault's core: %w", err)
	}
	return core, nil
}

// sweep removes the temporary files of writes that a kill interrupted. Vault's file storage takes
// them for entries, and a damaged lease would make the server seal itself. No engine here has
// entries with such names: KV version 2 encrypts or hashes names.
func sweep(data string) error {
	root, err := os.OpenRoot(data)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && strings.HasSuffix(path, ".temp") {
			err = root.Remove(path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove half-written files: %w", err)
	}
	return nil
}

// builtins is the registry (vault.BuiltinRegistry) of the linked engines. Vault's own registry links
// every engine, and with them the clients of all clouds.
type builtins struct{ secret, auth map[string]logical.Factory }

func (b builtins) of(kind consts.PluginType) map[string]logical.Factory {
	switch kind {
	case consts.PluginTypeSecrets:
		return b.secret
	case consts.PluginTypeCredential:
		return b.auth
	default:
		return nil
	}
}

func (b builtins) Contains(name string, kind consts.PluginType) bool {
	_, ok := b.of(kind)[name]
	return ok
}

func (b builtins) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, ok := b.of(kind)[name]
	return func() (any, error) { return factory, nil }, ok
}

func (b builtins) Keys(kind consts.PluginType) []string {
	return slices.Sorted(maps.Keys(b.of(kind)))
}

func (b builtins) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, b.Contains(name, kind)
}

func (builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
