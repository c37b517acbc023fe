package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/broker/tracing"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/sealed"
	"github.com/chandler-broker/chandler/credhub/vault"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

// app is the broker with everything it is made of, opened and not yet working.
type app struct {
	settings    settings
	log         *slog.Logger
	metrics     *metrics
	catalog     *catalog.Catalog
	store       *store.Store
	drivers     map[string]*services.Driver // by the servers' keys
	credentials credhub.Store
	deliveries  map[string]credhub.Delivery
	engine      *operation.Engine
	placement   *placement.Placement
	broker      *broker.Broker
	ready       prober
	closers     []func()
	// configs are what the drivers were opened with.
	configs map[string]services.Config
}

// loadCatalog reads and checks catalog.yml.
func loadCatalog(s settings) (*catalog.Catalog, error) {
	lookup := s.lookup
	if s.administrators != nil {
		lookup = s.administrators.lookup
	}
	c, err := catalog.Load(s.CatalogPath, all.Definitions(), lookup, s.Without...)
	if err != nil && s.administrators != nil && s.administrators.unread() != nil {
		err = fmt.Errorf("%w\nthe credential store, which may have variables that the environment lacks, cannot be read: %w", err, s.administrators.unread())
	}
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// tryBackends opens the backends of an app that has only the state, for the names of
// resources. If that fails, such as for a missing variable, the names are left out.
func (a *app) tryBackends(ctx context.Context) {
	c, err := loadCatalog(a.settings)
	if err == nil {
		a.catalog = c
		err = a.openDrivers(ctx)
	}
	if err != nil {
		a.drivers = nil
		a.log.WarnContext(ctx, "the backends cannot be opened: the names of resources are not shown", "error", err.Error())
	}
}

// operator works on what is opened.
func (a *app) operator() *operator.Operator {
	return &operator.Operator{
		Catalog: a.catalog, Store: a.store, Engine: a.engine, Drivers: a.drivers, Placement: a.placement,
		Credentials: a.credentials, Deliveries: a.lateDeliveries,
	}
}

// lateDeliveries opens the deliveries of an app that has only the state. Their
// configuration is in the catalog, so the catalog's variables have to be set.
func (a *app) lateDeliveries(ctx context.Context) (_ map[string]credhub.Delivery, err error) {
	if a.deliveries == nil {
		if a.catalog, err = loadCatalog(a.settings); err != nil {
			return nil, err
		}
		if err := a.openDeliveries(ctx, a.credentials); err != nil {
			return nil, err
		}
	}
	return a.deliveries, nil
}

// serversEvery is how soon new instances keep away from a server that went away.
const serversEvery = 5 * time.Second

// openOptions says what an app is opened for.
type openOptions struct {
	// migrate brings the state database to this version first; without, it has
	// to be there.
	migrate bool
	// credentials opens the credential store; an app without cannot serve.
	credentials bool
	// stateOnly opens no backend, and reads the catalog for its names only: none of
	// its variables has to be set, and the credential store is not asked for any.
	stateOnly bool
}

// open makes an app.
func open(ctx context.Context, s settings, log *slog.Logger, o openOptions) (_ *app, err error) {
	a := &app{settings: s, log: log, metrics: newMetrics()}
	if s.administrators != nil {
		a.closers = append(a.closers, func() { s.administrators.close() })
	}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if err = a.openCatalog(ctx, o); err != nil {
		return nil, err
	}
	if err = a.openState(ctx, o); err != nil {
		return nil, err
	}
	if !o.stateOnly {
		if err = a.openDrivers(ctx); err != nil {
			return nil, err
		}
	}
	if o.credentials {
		if err = a.openCredentials(ctx); err != nil {
			return nil, err
		}
		if err = a.checkCredentials(ctx); err != nil {
			return nil, err
		}
		if !o.stateOnly {
			if err = a.openDeliveries(ctx, a.credentials); err != nil {
				return nil, err
			}
			a.credentials = tracing.Credentials(a.credentials)
		}
	}
	if a.engine, err = operation.New(operation.Options{
		Store: a.store, Catalog: a.catalog, Drivers: a.drivers, Credentials: a.credentials, Deliveries: a.deliveries, Logger: log, Workers: s.Workers,
		Retention: s.Retention, AuditRetention: s.AuditRetention, ReconcileEvery: s.KeepEvery, RedeleteAfter: s.DeleteAgain, OnFinished: a.operationFinished,
	}); err != nil {
		return nil, err
	}
	if o.stateOnly {
		return a, nil
	}
	a.placement = placement.New(placement.Options{Catalog: a.catalog, Store: a.store, Drivers: a.drivers, Logger: log, CheckEvery: serversEvery})
	a.broker = broker.New(broker.Options{
		Catalog: a.catalog, Store: a.store, Engine: a.engine, Placement: a.placement, Credentials: a.credentials, Deliveries: a.deliveries, Drivers: a.drivers, Logger: log,
		AsyncWait: s.AsyncWait, SyncWait: s.SyncWait,
	})
	a.metrics.begin(a.catalog)
	a.metrics.watch(a)
	return a, nil
}

func (a *app) close() {
	for i := len(a.closers) - 1; i >= 0; i-- {
		a.closers[i]()
	}
}

// errNoDatabase is what is wrong without a state database.
var errNoDatabase = usagef("DATABASE_URL is not set: it names the broker's state database, postgres://user:password@host:port/database; on Cloud Foundry a bound PostgreSQL service does")

func (a *app) openCatalog(ctx context.Context, o openOptions) (err error) {
	if !o.stateOnly {
		a.catalog, err = loadCatalog(a.settings)
		return err
	}
	a.catalog, err = catalog.LoadNames(a.settings.CatalogPath, all.Definitions(), a.settings.lookup)
	if err != nil { // the state is there to be looked at all the same
		a.log.WarnContext(ctx, "the catalog cannot be read completely: IDs may be shown instead of names", "error", err.Error())
	}
	return nil
}

func (a *app) openState(ctx context.Context, o openOptions) error {
	if a.settings.DatabaseURL == "" {
		return errNoDatabase
	}
	// Each turn holds one; beside them are requests, the listener, the sweeper.
	connections := (a.settings.Workers+3)*max(1, len(a.catalog.Servers())) + 24 // 3: rounds over instances and bindings
	if o.stateOnly {
		connections = 4
	}
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var err error
	if a.store, err = store.Open(limited, a.settings.DatabaseURL, connections); err != nil {
		return err
	}
	a.closers = append(a.closers, a.store.Close)
	if o.migrate {
		err = a.store.Migrate(ctx, a.log)
	} else {
		err = checkVersion(ctx, a.store)
	}
	if err != nil || o.stateOnly {
		return err
	}
	err = checkState(ctx, a.catalog, a.store)
	if err != nil && len(a.settings.Without) > 0 {
		err = fmt.Errorf("%w\nthis start reads the file without %s: their servers are not installed, or --only leaves them out",
			err, strings.Join(a.settings.Without, ", "))
	}
	return err
}

// checkVersion refuses a state that was not migrated to this version.
func checkVersion(ctx context.Context, s *store.Store) error {
	has, needs, err := s.Version(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read the version of the state database: %w", err)
	case has == 0:
		return usagef("the state database that DATABASE_URL names has no tables of a broker: check that it is the right one; 'chandler serve' creates the tables at its start, and so does 'chandler migrate'")
	case has < needs:
		return usagef("the state database is at version %d, and this release needs version %d: run 'chandler migrate', after which the previous release still works, or use the binary of the release that matches the database", has, needs)
	}
	return nil
}

// checkState refuses a catalog that forgets plans that have instances.
func checkState(ctx context.Context, c *catalog.Catalog, s *store.Store) error {
	rows, err := s.PlansInUse(ctx, s.Pool)
	if err != nil {
		return fmt.Errorf("read the plans in use: %w", err)
	}
	used := make([]catalog.InUse, 0, len(rows))
	for _, r := range rows {
		used = append(used, catalog.InUse{
			ServiceID: r.ServiceID, PlanID: r.PlanID, Backend: r.Backend, BackendType: r.BackendType, Server: r.Server, Instances: int(r.Instances),
		})
	}
	if err := c.CheckState(used); err != nil {
		return usageError{forgottenError{err}}
	}
	return nil
}

// forgottenError reports plans and servers that have instances and are missing from
// the catalog.
type forgottenError struct{ error }

func (a *app) openDrivers(ctx context.Context) error {
	a.drivers, a.configs = map[string]*services.Driver{}, map[string]services.Config{}
	for _, s := range a.catalog.Servers() {
		key := s.Key()
		d, err := s.Definition.Open(ctx, s.Config, tracing.Calls(key))
		if err != nil {
			return fmt.Errorf("backend %s: %w", key, err)
		}
		a.drivers[key], a.configs[key] = d, s.Config
		a.closers = append(a.closers, func() {
			if err := d.Close(); err != nil {
				a.log.Warn("backend could not be closed", "backend", key, "error", err.Error())
			}
		})
	}
	return nil
}

func (a *app) openCredentials(ctx context.Context) error {
	config, keys, err := credentialSettings(a.settings.lookup)
	if err != nil {
		return err
	}
	if config != nil {
		config.Logger = a.log
		v, err := vault.Open(ctx, *config)
		if err != nil {
			return err
		}
		a.credentials = v
		a.closers = append(a.closers, func() { _ = v.Close() })
		return nil
	}
	store, err := sealed.Open(ctx, a.store.Pool, keys)
	if err != nil {
		return err
	}
	a.credentials = store
	return a.rewrap(ctx, store)
}

// credentialSettings reads which credential store to open: the Vault of config,
// or where that is nil the sealed one with keys.
func credentialSettings(lookup func(string) (string, bool)) (config *vault.Config, keys sealed.Keys, err error) {
	if address, _ := lookup("VAULT_ADDR"); address != "" {
		c, err := vault.FromEnv(lookup)
		if err != nil {
			return nil, keys, usageError{err}
		}
		return &c, keys, nil
	}
	text, err := sealedKeys(lookup)
	if err != nil {
		return nil, keys, err
	}
	if keys, err = sealed.ParseKeys(text); err != nil {
		return nil, keys, usageError{err}
	}
	return nil, keys, nil
}

// checkCredentials refuses another credential store than the bindings'
// credentials are in: none could be read, and unbinding would leave them behind.
// A store that does not answer is no reason: readiness tells of it.
func (a *app) checkCredentials(ctx context.Context) error {
	b, err := a.store.AnyReadyBinding(ctx, a.store.Pool)
	if store.NotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read a binding: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = a.credentials.Get(limited, credhub.CredentialsPath(b.InstanceID, b.ID))
	if !errors.Is(err, credhub.ErrNotFound) {
		return nil
	}
	busy, err := a.store.UnfinishedOperations(ctx, a.store.Pool, b.InstanceID)
	if err != nil {
		return fmt.Errorf("read the operations: %w", err)
	}
	if now, err := a.store.Binding(ctx, a.store.Pool, b.ID); len(busy) > 0 || store.NotFound(err) || now.Status != store.Ready {
		return nil // another replica is unbinding it
	} else if err != nil {
		return fmt.Errorf("read a binding: %w", err)
	}
	return usagef("the credentials of binding %s are not in this credential store: point VAULT_ADDR, VAULT_KV_MOUNT and VAULT_KV_PREFIX "+
		"to where they are, or leave VAULT_ADDR out if they are sealed in the state database", b.ID)
}

// rewrap brings what older keys sealed under the first one, so that a rotation
// is: put the new key first, restart, remove the old one.
func (a *app) rewrap(ctx context.Context, s *sealed.Store) error {
	n, err := s.Rewrap(ctx)
	if err != nil {
		return fmt.Errorf("bring the sealed credentials under the first key: %w", err)
	}
	if n > 0 {
		a.log.InfoContext(ctx, "sealed credentials moved to the first key", "count", n)
	}
	return nil
}

func sealedKeys(lookup func(string) (string, bool)) ([]byte, error) {
	if key, ok := lookup("CHANDLER_SEALED_KEY"); ok && key != "" {
		return []byte(key), nil
	}
	path, ok := lookup("CHANDLER_SEALED_KEY_FILE")
	if !ok || path == "" {
		return nil, usagef("no credential store: set VAULT_ADDR, or CHANDLER_SEALED_KEY or CHANDLER_SEALED_KEY_FILE " +
			"(32 random bytes in base64, as 'openssl rand -base64 32' prints them)")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("CHANDLER_SEALED_KEY_FILE: %w", err)
	}
	return text, nil
}
