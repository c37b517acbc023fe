package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/broker/tracing"
	"github.com/chandler-broker/chandler/credhub"
)

// rewrapper is a credential store that can bring everything under its first key, so that
// a rotation is: put the new key first, restart, remove the old one.
type rewrapper interface {
	Rewrap(ctx context.Context) (changed int, err error)
}

func (s *Server) openCredentials(ctx context.Context, needs Needs) error {
	if !needs.Credentials {
		return nil
	}
	named, err := s.settings.CredentialStore(s.settings.Lookup)
	if err != nil {
		return err
	}
	var state *pgxpool.Pool
	if named.InState {
		state = s.store.Pool
	}
	var closeStore func()
	if s.credentials, closeStore, err = named.Open(ctx, state, s.log); err != nil {
		return err
	}
	s.closers = append(s.closers, closeStore)
	if r, ok := s.credentials.(rewrapper); ok {
		n, err := r.Rewrap(ctx)
		if err != nil {
			return fmt.Errorf("bring the sealed credentials under the first key: %w", err)
		}
		if n > 0 {
			s.log.InfoContext(ctx, "sealed credentials moved to the first key", "count", n)
		}
	}
	if err := s.checkCredentials(ctx); err != nil || needs.StateOnly {
		return err
	}
	if _, err = s.openDeliveries(ctx); err != nil {
		return err
	}
	s.credentials = tracing.Credentials(s.credentials)
	return nil
}

// checkCredentials refuses a credential store other than the one that holds the
// bindings' credentials: none could be read, and unbinding would leave them behind. A
// store that does not answer passes: readiness reports it.
func (s *Server) checkCredentials(ctx context.Context) error {
	b, err := s.store.AnyReadyBinding(ctx, s.store.Pool)
	if store.NotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read a binding: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = s.credentials.Get(limited, credhub.CredentialsPath(b.InstanceID, b.ID))
	if !errors.Is(err, credhub.ErrNotFound) {
		return nil
	}
	busy, err := s.store.UnfinishedOperations(ctx, s.store.Pool, b.InstanceID)
	if err != nil {
		return fmt.Errorf("read the operations: %w", err)
	}
	if now, err := s.store.Binding(ctx, s.store.Pool, b.ID); len(busy) > 0 || store.NotFound(err) || now.Status != store.Ready {
		return nil // another replica is unbinding it
	} else if err != nil {
		return fmt.Errorf("read a binding: %w", err)
	}
	return configErrorf("the credentials of binding %s are not in this credential store: point VAULT_ADDR, VAULT_KV_MOUNT and VAULT_KV_PREFIX "+
		"to where they are, or leave VAULT_ADDR out if they are sealed in the state database", b.ID)
}

// openDeliveries makes the deliveries once. Their configuration is in the catalog, so a
// server that has only the state needs the catalog's variables for them.
func (s *Server) openDeliveries(ctx context.Context) (map[string]credhub.Delivery, error) {
	if s.deliveries != nil {
		return s.deliveries, nil
	}
	c, err := s.catalog, error(nil)
	if s.drivers == nil {
		if c, err = LoadCatalog(s.settings); err != nil {
			return nil, err
		}
	}
	deliveries, err := s.settings.Deliveries(c, s.credentials)
	if err != nil {
		return nil, err
	}
	if err := s.checkDeliveries(ctx, deliveries); err != nil {
		return nil, err
	}
	s.deliveries = map[string]credhub.Delivery{}
	for name, d := range deliveries {
		s.deliveries[name] = tracing.Delivery(name, d)
	}
	return s.deliveries, nil
}

// checkDeliveries refuses deliveries that lack one by which bindings are delivered: their
// credentials could not be withdrawn.
func (s *Server) checkDeliveries(ctx context.Context, deliveries map[string]credhub.Delivery) error {
	used, err := s.store.DeliveriesInUse(ctx, s.store.Pool)
	if err != nil {
		return fmt.Errorf("read the deliveries in use: %w", err)
	}
	for _, u := range used {
		if _, ok := deliveries[u.Delivery]; !ok && u.Delivery != credhub.Inline {
			return configErrorf("%d bindings are delivered by %s, which the catalog does not set up any more: put it back under delivery, "+
				"until they are unbound; plans and platforms may have another delivery meanwhile", u.Bindings, u.Delivery)
		}
	}
	return nil
}
