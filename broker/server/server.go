// Package server opens a broker from its settings and its catalog, and serves it: the
// API, readiness and metrics. It reloads clients, drained servers and administrators'
// credentials. Implementations of backends and of credential stores are passed in.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/broker/tracing"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Settings is what differs between deployments.
type Settings struct {
	Listen, DatabaseURL, CatalogPath string
	// TLSCert and TLSKey are files; both or neither are set.
	TLSCert, TLSKey string
	// Username and Password are the platform's, if the catalog names no platforms.
	Username, Password string
	// OperatorUsername and OperatorPassword are the operator's, who reads metrics and
	// readiness, if the catalog names no operators.
	OperatorUsername, OperatorPassword string
	// TrustedProxies are those whose X-Forwarded-For counts as a request's source.
	TrustedProxies []netip.Prefix
	// TracingEndpoint receives spans; empty: none are sent.
	TracingEndpoint string
	// ProfileListen is the private address of profiles; empty: none are served.
	ProfileListen string
	Workers       int

	AsyncWait, SyncWait, Retention, AuditRetention, ReconcileEvery, RedeleteAfter time.Duration
	// AnyVersion serves requests without X-Broker-API-Version, too.
	AnyVersion bool
	// Without are types of backends to leave out of the catalog, for chandler dev.
	Without []string
	// Lookup reads a variable of the environment.
	Lookup func(name string) (string, bool)
	// Variables adds the credential store's variables to the environment's in the
	// catalog; nil: only the environment's count. It is closed with the server.
	Variables *Variables
	// Version is the program's, for spans.
	Version string
	Implementations
}

// Implementations are the implementations of contracts that a broker works with.
type Implementations struct {
	Backends []services.Definition
	// CredentialStore finds the credential store that the environment names, without an
	// outside call.
	CredentialStore func(lookup func(string) (string, bool)) (CredentialStore, error)
	// Deliveries makes the catalog's deliveries, without an outside call. If store is nil
	// it only checks what needs no store.
	Deliveries func(c *catalog.Catalog, store credhub.Store) (map[string]credhub.Delivery, error)
}

// CredentialStore is a credential store that is not open yet.
type CredentialStore struct {
	// InState says that it is in the state database.
	InState bool
	// Open opens it. state is nil unless it is in the state database.
	Open func(ctx context.Context, state *pgxpool.Pool, log *slog.Logger) (_ credhub.Store, closeStore func(), _ error)
}

// ConfigError is a fault of the environment or the catalog: nothing was tried.
type ConfigError struct{ error }

func (e ConfigError) Unwrap() error { return e.error }

func configErrorf(format string, args ...any) error { return ConfigError{fmt.Errorf(format, args...)} }

// Needs says what a Server is opened for.
type Needs struct {
	// Migrate brings the state database to this version first. Without it the database
	// must be at this version.
	Migrate bool
	// Credentials opens the credential store; Serve needs it.
	Credentials bool
	// StateOnly opens no backend, and reads only the names in the catalog: none of its
	// variables has to be set.
	StateOnly bool
}

// Server is an open broker.
type Server struct {
	settings    Settings
	log         *slog.Logger
	metrics     *metrics
	catalog     *catalog.Catalog
	store       *store.Store
	drivers     map[string]*services.Driver // by the servers' keys
	credentials credhub.Store
	deliveries  map[string]credhub.Delivery
	engine      *operation.Engine
	placement   *placement.Placement
	// archive and runner are nil without a section "backups" in the catalog.
	archive *backup.Objects
	runner  *backup.Runner
	// The answers of costly queries for the metrics.
	backupCounts costly[[]store.CountBackupsRow]
	backupAges   costly[[]store.BackupAgesRow]
	broker       *broker.Broker
	ready        prober
	closers      []func()
	// configs are what the drivers were opened with.
	configs map[string]services.Config
}

// placementEvery is how often placement asks servers whether they answer.
const placementEvery = 5 * time.Second

// Open opens a broker, which works only once it serves.
func Open(ctx context.Context, settings Settings, log *slog.Logger, needs Needs) (_ *Server, err error) {
	s := &Server{settings: settings, log: log, metrics: newMetrics()}
	if settings.Variables != nil {
		s.closers = append(s.closers, settings.Variables.Close)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, open := range []func(context.Context, Needs) error{s.openCatalog, s.openState, s.openBackends, s.openCredentials, s.openBackups} {
		if err = open(ctx, needs); err != nil {
			return nil, err
		}
	}
	if s.engine, err = operation.New(operation.Options{
		Store: s.store, Catalog: s.catalog, Drivers: s.drivers, Credentials: s.credentials, Deliveries: s.deliveries, Logger: log, Workers: settings.Workers,
		Retention: settings.Retention, AuditRetention: settings.AuditRetention, ReconcileEvery: settings.ReconcileEvery, RedeleteAfter: settings.RedeleteAfter,
		OnFinished: s.operationFinished, OnCopy: s.copyChanged,
	}); err != nil || needs.StateOnly {
		return s, err
	}
	s.placement = placement.New(placement.Options{Catalog: s.catalog, Store: s.store, Drivers: s.drivers, Logger: log, CheckEvery: placementEvery})
	s.broker = broker.New(broker.Options{
		Catalog: s.catalog, Store: s.store, Engine: s.engine, Placement: s.placement, Credentials: s.credentials, Deliveries: s.deliveries, Drivers: s.drivers, Logger: log,
		AsyncWait: settings.AsyncWait, SyncWait: settings.SyncWait,
	})
	s.metrics.begin(s.catalog)
	s.metrics.watch(s)
	return s, nil
}

// Close closes what Open opened.
func (s *Server) Close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// Operator works on what is open.
func (s *Server) Operator() *operator.Operator {
	return &operator.Operator{
		Catalog: s.catalog, Store: s.store, Engine: s.engine, Drivers: s.drivers, Placement: s.placement,
		Credentials: s.credentials, Deliveries: s.openDeliveries,
	}
}

// NamesResources opens the backends of a server that has only the state, so that its
// Operator knows the names of resources. If that fails, it logs why.
func (s *Server) NamesResources(ctx context.Context) {
	c, err := LoadCatalog(s.settings)
	if err == nil {
		s.catalog = c
		err = s.openBackends(ctx, Needs{})
	}
	if err != nil {
		s.drivers = nil
		s.log.WarnContext(ctx, "the backends cannot be opened: the names of resources are not shown", "error", err.Error())
	}
}

// LoadCatalog reads and checks the catalog.
func LoadCatalog(s Settings) (*catalog.Catalog, error) {
	lookup, unread := s.Lookup, error(nil)
	if s.Variables != nil {
		lookup = s.Variables.Lookup
	}
	c, err := catalog.Load(s.CatalogPath, s.Backends, lookup, s.Without...)
	if s.Variables != nil {
		unread = s.Variables.unread()
	}
	switch {
	case err == nil:
		return c, nil
	case unread != nil:
		return nil, configErrorf("%w\nthe credential store, which may have variables that the environment lacks, cannot be read: %w", err, unread)
	}
	return nil, ConfigError{err}
}

func (s *Server) openCatalog(ctx context.Context, needs Needs) (err error) {
	if !needs.StateOnly {
		s.catalog, err = LoadCatalog(s.settings)
		return err
	}
	s.catalog, err = catalog.LoadNames(s.settings.CatalogPath, s.settings.Backends, s.settings.Lookup)
	if err != nil { // the state is readable all the same
		s.log.WarnContext(ctx, "the catalog cannot be read completely: IDs may be shown instead of names", "error", err.Error())
	}
	return nil
}

func (s *Server) openBackends(ctx context.Context, needs Needs) error {
	if needs.StateOnly {
		return nil
	}
	s.drivers, s.configs = map[string]*services.Driver{}, map[string]services.Config{}
	for _, server := range s.catalog.Servers() {
		key := server.Key()
		d, err := server.Definition.Open(ctx, server.Config, tracing.Calls(key))
		if err != nil {
			return fmt.Errorf("backend %s: %w", key, err)
		}
		s.drivers[key], s.configs[key] = d, server.Config
		s.closers = append(s.closers, func() { s.closed(key, d.Close()) })
	}
	return s.checkPlans(ctx)
}

// checkPlans reports the plans whose backend's servers lack what the plan offers.
func (s *Server) checkPlans(ctx context.Context) error {
	var faults []error
	for _, server := range s.catalog.Servers() {
		for _, p := range s.catalog.PlansOf(server.Backend) {
			if _, err := s.drivers[server.Key()].CheckPlan.OrZero(ctx, p.Config); err != nil {
				faults = append(faults, fmt.Errorf("plan %s on backend %s: %w", p.Name, server.Key(), err))
			}
		}
	}
	if faults == nil {
		return nil
	}
	return ConfigError{errors.Join(faults...)}
}

// closed logs that a backend could not be closed.
func (s *Server) closed(key string, err error) {
	if err != nil {
		s.log.Warn("backend could not be closed", "backend", key, "error", err.Error())
	}
}
