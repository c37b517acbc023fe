package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"
)

// Ready implements credhub.Store. Its errors distinguish: Vault cannot be reached, is not
// initialised, is sealed, or refuses the login or the token; the token lacks a permission;
// the mount is not a KV engine of version 2.
func (s *Store) Ready(ctx context.Context) error {
	for _, check := range []func(context.Context) error{s.answers, s.allowed, s.mounted} {
		if err := check(ctx); err != nil {
			return fmt.Errorf("vault: %w", err)
		}
	}
	return nil
}

func (s *Store) answers(ctx context.Context) error {
	status, err := s.clients.root.Sys().SealStatusWithContext(ctx)
	switch {
	case err != nil:
		return s.plain(ctx, err)
	case !status.Initialized:
		return fmt.Errorf("Vault at %s is not initialised: run `vault operator init`", s.clients.root.Address())
	case status.Sealed:
		return fmt.Errorf("Vault at %s is sealed: unseal it", s.clients.root.Address())
	}
	return nil
}

// allowed asks Vault what the token may do, because a test write would leave something
// behind.
func (s *Store) allowed(ctx context.Context) error {
	data := s.config.Mount + "/data/" + s.config.Prefix + "/ready"
	metadata := s.config.Mount + "/metadata/" + s.config.Prefix + "/ready"
	request, err := json.Marshal(map[string]any{"paths": []string{data, metadata}})
	if err != nil {
		return fmt.Errorf("encode the question: %w", err)
	}
	granted, err := s.post(ctx, "sys/capabilities-self", request)
	if err != nil {
		return err
	}
	return errors.Join(
		lacks(granted[data], s.config.Mount+"/data/"+s.config.Prefix+"/*", "create", "read", "update"),
		lacks(granted[metadata], s.config.Mount+"/metadata/"+s.config.Prefix+"/*", "delete"),
	)
}

func lacks(granted any, path string, needed ...string) error {
	capabilities, ok := granted.([]any)
	if !ok {
		return fmt.Errorf("Vault's answer about the permissions on %s cannot be read", path)
	}
	needed = slices.DeleteFunc(needed, func(capability string) bool { return slices.Contains(capabilities, any(capability)) })
	if len(needed) == 0 || slices.Contains(capabilities, any("root")) {
		return nil
	}
	return fmt.Errorf("the token's policies do not allow %s on %s: give it the policy deploy/vault/chandler-policy.hcl",
		strings.Join(needed, ", "), path)
}

// mounted asks what is at the mount, as every token with a permission there may. Vault
// answers 403 if nothing is mounted, and also if the token has expired since allowed
// checked it, so mounted calls that again.
func (s *Store) mounted(ctx context.Context) error {
	body, err := s.mount(ctx)
	if isRefused(err, http.StatusForbidden) {
		if err := s.allowed(ctx); err != nil {
			return err
		}
		body, err = s.mount(ctx)
	}
	var answer struct {
		Data struct {
			Type    string
			Options struct{ Version string }
		}
	}
	switch {
	case isRefused(err, http.StatusForbidden): // answer stays empty
	case err != nil:
		return err
	case json.Unmarshal(body, &answer) != nil:
		return fmt.Errorf("Vault's answer about the mount %s/ cannot be read", s.config.Mount)
	}
	if answer.Data.Type != "kv" || answer.Data.Options.Version != "2" {
		return fmt.Errorf("no KV engine of version 2 is mounted at %[1]s/: run `vault secrets enable -path=%[1]s -version=2 kv`, or set VAULT_KV_MOUNT",
			s.config.Mount)
	}
	return nil
}

func (s *Store) mount(ctx context.Context) ([]byte, error) {
	return s.ask(ctx, func(c *api.Logical) (*api.Response, error) {
		return c.ReadRawWithContext(ctx, "sys/internal/ui/mounts/"+s.config.Mount)
	})
}
