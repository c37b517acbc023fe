// Package vault stores credentials in a KV engine of version 2 in HashiCorp Vault. It
// creates by check-and-set, and deletes every version.
//
// While Vault is away or sealed, calls fail fast, with an error that tells the operator
// why. The caller retries.
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

// Open makes a Store and begins to log in. It fails if the configuration is invalid, but
// not if Vault is away or sealed, which Ready reports. ctx is for Open only.
func Open(ctx context.Context, config Config) (*Store, error) {
	config.setDefaults()
	if err := errors.Join(config.validate(), ctx.Err()); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	clients, err := newClients(config)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return &Store{config: config, clients: clients, session: startSession(config, clients)}, nil
}

// Close ends the renewal of the token, and revokes it if the Store itself logged in. It
// closes the Store even if Vault refuses.
func (s *Store) Close() error { return s.session.close() }

// Ensure implements credhub.Store.
func (s *Store) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (json.RawMessage, error) {
	var winner json.RawMessage
	err := s.swap(ctx, path, &stored{}, func(found json.RawMessage) (json.RawMessage, error) {
		if winner = found; found != nil {
			return nil, errTaken
		}
		return value, nil
	})
	switch {
	case err == nil:
		return value, nil
	case errors.Is(err, errTaken):
		return winner, nil
	}
	return nil, err
}

// errTaken ends an Ensure that finds a value.
var errTaken = errors.New("a value is stored there")

// Put implements credhub.Store.
func (s *Store) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	err := credhub.CheckValue(value)
	if err == nil {
		err = s.write(ctx, path, value, nil)
	}
	if wantsVersion(err) { // the operator set cas_required
		return s.swap(ctx, path, nil, func(json.RawMessage) (json.RawMessage, error) { return value, nil })
	}
	return s.failed("store", path, err)
}

// Change implements credhub.Store.
func (s *Store) Change(ctx context.Context, path credhub.Path, change func(json.RawMessage) (json.RawMessage, error)) error {
	return s.swap(ctx, path, nil, change)
}

// swap writes by check-and-set what change makes of the stored value. The first attempt
// assumes that found is stored; nil: read it.
func (s *Store) swap(ctx context.Context, path credhub.Path, found *stored, change func(json.RawMessage) (json.RawMessage, error)) error {
	for range contention {
		if found == nil {
			latest, err := s.read(ctx, path)
			if err != nil {
				return s.failed("read", path, err)
			}
			found = &latest
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
		found = nil
	}
	return s.failed("store", path, errors.New("it is being changed too often at the moment: try again"))
}

// contention is how often a value may change between a read and the write that follows.
// Each failure is another caller's success.
const contention = 100

// Get implements credhub.Store.
func (s *Store) Get(ctx context.Context, path credhub.Path) (json.RawMessage, error) {
	found, err := s.read(ctx, path)
	if err == nil && found.value == nil {
		err = credhub.ErrNotFound
	}
	return found.value, s.failed("read", path, err)
}

// Delete implements credhub.Store.
func (s *Store) Delete(ctx context.Context, path credhub.Path) error {
	// below metadata/, because a delete below data/ can be undone
	_, err := s.call(ctx, func(c *api.Logical) (*api.Response, error) {
		return c.DeleteRawWithContext(ctx, s.address("metadata", path))
	})
	return s.failed("delete", path, err)
}

func (s *Store) address(kind string, path credhub.Path) string {
	return s.config.Mount + "/" + kind + "/" + s.config.Prefix + "/" + path.String()
}

func (s *Store) failed(verb string, path credhub.Path, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("vault: %s %s/%s: %w", verb, s.config.Prefix, path, err)
}
