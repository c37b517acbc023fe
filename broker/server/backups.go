package server

import (
	"context"
	"fmt"

	"filippo.io/age"

	"github.com/chandler-broker/chandler/broker/backup"
)

// openBackups opens the store of backups, if the catalog has one, without a call.
func (s *Server) openBackups(_ context.Context, needs Needs) (err error) {
	if needs.StateOnly || s.catalog.Backups() == nil {
		return nil
	}
	settings := s.catalog.Backups()
	if s.archive, err = backup.Open(settings.Store); err != nil {
		return ConfigError{fmt.Errorf("backups.store: %w", err)}
	}
	var recipients []*age.X25519Recipient
	if settings.Recipient != nil {
		recipients = append(recipients, settings.Recipient)
	}
	s.runner = backup.NewRunner(backup.RunnerOptions{
		Store: s.store, Catalog: s.catalog, Drivers: s.drivers, Credentials: s.credentials, Archive: s.archive, Recipients: recipients,
		Logger: s.log, AtOnce: settings.AtOnce, OnFinished: s.copyFinished,
	})
	return nil
}

// copyChanged tells the runner of copies that are due or cancelled.
func (s *Server) copyChanged(copyID string) {
	if s.runner != nil {
		s.runner.Changed(copyID)
	}
}

// copyConnections are the connections to the state that copies hold.
func (s *Server) copyConnections() int {
	settings := s.catalog.Backups()
	if settings == nil {
		return 0
	}
	return settings.AtOnce*len(s.catalog.Servers()) + 4
}

// Backups is the store of backups; nil: the catalog has none, or the server has only the state.
func (s *Server) Backups() *backup.Objects { return s.archive }
