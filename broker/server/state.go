package server

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
)

// openTime limits the first connection to the state database.
const openTime = 30 * time.Second

func errNoDatabase() error {
	return configErrorf("DATABASE_URL is not set: set it to the broker's state database, postgres://user:password@host:port/database, or on Cloud Foundry bind a PostgreSQL service")
}

// OpenState opens the state database with so many connections.
func OpenState(ctx context.Context, s Settings, connections int) (*store.Store, error) {
	if s.DatabaseURL == "" {
		return nil, errNoDatabase()
	}
	limited, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	return store.Open(limited, s.DatabaseURL, connections)
}

// Migrate brings the state database to this version.
func Migrate(ctx context.Context, s Settings, log *slog.Logger) error {
	db, err := OpenState(ctx, s, 4)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Migrate(ctx, log)
}

func (s *Server) openState(ctx context.Context, needs Needs) (err error) {
	// Each attempt holds one connection; requests, the listener, the sweeper and the rounds
	// over instances and bindings (3) need others, and so do copies.
	connections := (s.settings.Workers+3)*max(1, len(s.catalog.Servers())) + 24 + s.copyConnections()
	if needs.StateOnly {
		connections = 4
	}
	if s.store, err = OpenState(ctx, s.settings, connections); err != nil {
		return err
	}
	s.closers = append(s.closers, s.store.Close)
	if needs.Migrate {
		err = s.store.Migrate(ctx, s.log)
	} else {
		err = checkVersion(ctx, s.store)
	}
	if err != nil || needs.StateOnly {
		return err
	}
	err = checkState(ctx, s.catalog, s.store)
	if err != nil && len(s.settings.Without) > 0 {
		err = fmt.Errorf("%w\nthis start reads the file without %s: their servers are not installed, or --only leaves them out",
			err, strings.Join(s.settings.Without, ", "))
	}
	return err
}

// checkVersion refuses a state database that is not at this version.
func checkVersion(ctx context.Context, db *store.Store) error {
	has, needs, err := db.Version(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read the version of the state database: %w", err)
	case has == 0:
		return configErrorf("the state database in DATABASE_URL has no tables of a broker: check that it is the right one; 'chandler serve' creates the tables at its start, and so does 'chandler migrate'")
	case has < needs:
		return configErrorf("the state database is at version %d, and this release needs version %d: run 'chandler migrate', after which the previous release still works, or use the binary of the release that matches the database", has, needs)
	}
	return nil
}

// CheckState compares a catalog with the state. empty says that no broker has used the
// state database yet.
func CheckState(ctx context.Context, c *catalog.Catalog, db *store.Store) (empty bool, err error) {
	has, _, err := db.Version(ctx)
	if err != nil {
		return false, fmt.Errorf("read the version of the state database: %w", err)
	}
	if has == 0 {
		return true, nil
	}
	if err := checkVersion(ctx, db); err != nil {
		return false, err
	}
	return false, checkState(ctx, c, db)
}

// InUseError says that the catalog lacks plans or servers that have instances.
type InUseError struct{ error }

func checkState(ctx context.Context, c *catalog.Catalog, db *store.Store) error {
	rows, err := db.PlansInUse(ctx, db.Pool)
	if err != nil {
		return fmt.Errorf("read the plans in use: %w", err)
	}
	used := make([]catalog.InUse, 0, len(rows))
	for _, r := range rows {
		used = append(used, catalog.InUse(r))
	}
	if err := c.CheckState(used); err != nil {
		return ConfigError{InUseError{err}}
	}
	return nil
}
