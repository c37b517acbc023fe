// Package vault keeps credentials in HashiCorp Vault, in a KV engine of
// version 2: what is to exist once is written by check-and-set, and what is
// deleted goes with every version of it.
//
// Vault may be away, sealed or restarted at any time: calls fail then, fast and
// in words for an operator, and go on when it is back. Retrying is the caller's.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler/credhub"
)

// Store is a credential store in Vault.
type Store struct {
	config  Config
	clients clients
	session *session
}

var _ credhub.Store = (*Store)(nil)

// Open makes a Store and begins to log in. It fails for a configuration that
// cannot work, never because Vault is away or sealed: Ready tells that.
// ctx is for Open alone.
func Open(ctx context.Context, config Config) (*Store, error) {
	config.setDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	clients, err := newClients(config)
	if err != nil {
		return nil, err
	}
	return &Store{config: config, clients: clients, session: startSession(config, clients)}, nil
}

// Close ends the renewal of the token, and revokes it where the Store itself
// logged in. Whatever Vault says to that, the Store is closed.
func (s *Store) Close() error { return s.session.close() }

// Ensure implements credhub.Store.
func (s *Store) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (json.RawMessage, error) {
	if err := credhub.CheckValue(value); err != nil {
		return nil, s.failed("store", path, err)
	}
	version := 0
	for range contention {
		err := s.write(ctx, path, value, &version)
		if err == nil {
			return value, nil
		}
		if !isConflict(err) {
			return nil, s.failed("store", path, err)
		}
		found, err := s.read(ctx, path)
		if err != nil {
			return nil, s.failed("read", path, err)
		}
		if found.value != nil {
			return found.value, nil
		}
		version = found.version // not 0 where somebody deleted the latest version alone
	}
	return nil, s.failed("store", path, errContention)
}

// Put implements credhub.Store.
func (s *Store) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	if err := credhub.CheckValue(value); err != nil {
		return s.failed("store", path, err)
	}
	err := s.write(ctx, path, value, nil)
	if wantsVersion(err) {
		err = s.replace(ctx, path, value)
	}
	return s.failed("store", path, err)
}

// replace writes by check-and-set, as it must be where the operator set
// cas_required.
func (s *Store) replace(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	for range contention {
		found, err := s.read(ctx, path)
		if err != nil {
			return err
		}
		if err := s.write(ctx, path, value, &found.version); !isConflict(err) {
			return err
		}
	}
	return errContention
}

// Change implements credhub.Store.
func (s *Store) Change(ctx context.Context, path credhub.Path, change func(json.RawMessage) (json.RawMessage, error)) error {
	for range 10 * contention { // each failure is somebody else's success
		found, err := s.read(ctx, path)
		if err != nil {
			return s.failed("read", path, err)
		}
		value, err := change(found.value)
		if err != nil {
			return err
		}
		if err = credhub.CheckValue(value); err == nil {
			err = s.write(ctx, path, value, &found.version)
		}
		if !isConflict(err) {
			return s.failed("store", path, err)
		}
	}
	return s.failed("store", path, errContention)
}

// Get implements credhub.Store.
func (s *Store) Get(ctx context.Context, path credhub.Path) (json.RawMessage, error) {
	found, err := s.read(ctx, path)
	if err != nil {
		return nil, s.failed("read", path, err)
	}
	if found.value == nil {
		return nil, s.failed("read", path, credhub.ErrNotFound)
	}
	return found.value, nil
}

// Delete implements credhub.Store.
func (s *Store) Delete(ctx context.Context, path credhub.Path) error {
	// Below metadata/, because a delete below data/ can be undone.
	_, err := s.call(ctx, func(c *api.Logical) (*api.Response, error) {
		return c.DeleteRawWithContext(ctx, s.address("metadata", path))
	})
	return s.failed("delete", path, err)
}

// contention is how often a value may change between a write and the read that
// follows it.
const contention = 10

var errContention = errors.New("it is being written and deleted over and over: try again")

func (s *Store) address(kind string, path credhub.Path) string {
	return s.config.Mount + "/" + kind + "/" + s.config.Prefix + "/" + path.String()
}

func (s *Store) failed(verb string, path credhub.Path, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("vault: %s %s/%s: %w", verb, s.config.Prefix, path, err)
}
