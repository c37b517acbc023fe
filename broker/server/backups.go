package server

import (
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
)

// openBackups opens the store of backups, if the catalog has one, without a call. Without a store,
// there may be backups that the backends' servers hold.
func (s *Server) openBackups(_ context.Context, needs Needs) (err error) {
	settings := s.catalog.Backups()
	if needs.StateOnly || settings == nil && !s.catalog.HoldsBackups() {
		return nil
	}
	o := backup.RunnerOptions{
		Store: s.store, Catalog: s.catalog, Drivers: s.drivers, Credentials: s.credentials, Logger: s.log,
		AtOnce: s.copiesAtOnce(), OnFinished: s.copyFinished,
	}
	if settings != nil {
		if s.archive, err = backup.Open(settings.Store); err != nil {
			return ConfigError{fmt.Errorf("backups.store: %w", err)}
		}
		o.Archive = s.archive
		if settings.Recipient != nil {
			o.Recipients = append(o.Recipients, settings.Recipient)
		}
	}
	s.runner = backup.NewRunner(o)
	return nil
}

// startBackups starts the work on backups.
func (s *Server) startBackups(ctx context.Context) {
	if plans := s.catalog.WithoutBackups(); len(plans) > 0 {
		s.log.WarnContext(ctx, "no store of backups is configured: plans go without the backups that the catalog gives them", "plans", plans)
	}
	if s.runner != nil {
		s.runner.Start(ctx)
	}
}

// copiesAtOnce is how many copies run at once on a server; 0: the catalog allows none.
func (s *Server) copiesAtOnce() int {
	switch settings := s.catalog.Backups(); {
	case settings != nil:
		return settings.AtOnce
	case s.catalog.HoldsBackups():
		return catalog.DefaultAtOnce
	}
	return 0
}

// copyChanged tells the runner of copies that are due or cancelled.
func (s *Server) copyChanged(copyID string) {
	if s.runner != nil {
		s.runner.Changed(copyID)
	}
}

// copyConnections are the connections to the state that copies hold.
func (s *Server) copyConnections() int {
	if s.copiesAtOnce() == 0 {
		return 0
	}
	return s.copiesAtOnce()*len(s.catalog.Servers()) + 4
}

// Backups is the store of backups; nil: the catalog has none, or the server has only the state.
func (s *Server) Backups() *backup.Objects { return s.archive }
