package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Variables are those that the catalog reads as ${NAME}: the environment's and, behind them,
// those of one object in the credential store, which are the administrators' credentials of
// servers. A running broker reads the object again, so that they can be replaced there. It
// is safe for concurrent use.
type Variables struct {
	settings Settings

	mu         sync.Mutex
	store      credhub.Store // opened when first needed
	closeStore func()
	values     map[string]string // nil until they were read
	used       map[string]bool   // the names that the catalog took from the store
	fault      error             // why they could not be read
}

// NewVariables makes Variables, without an outside call.
func NewVariables(s Settings) *Variables {
	return &Variables{settings: s, closeStore: func() {}, used: map[string]bool{}}
}

// variablesTime limits a read of the credential store.
const variablesTime = 10 * time.Second

// Close closes the credential store.
func (v *Variables) Close() { v.closeStore() }

// Lookup reads a variable of the environment or, if it is not set there, of the
// credential store.
func (v *Variables) Lookup(name string) (string, bool) {
	if value, ok := v.settings.Lookup(name); ok {
		return value, true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.values == nil && v.fault == nil {
		ctx, cancel := context.WithTimeout(context.Background(), variablesTime)
		defer cancel()
		v.values, v.fault = v.read(ctx)
	}
	value, ok := v.values[name]
	if ok {
		v.used[name] = true
	}
	return value, ok
}

// retry makes the next Lookup ask a credential store that did not answer.
func (v *Variables) retry() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fault = nil
}

// unread is why the credential store could not be read.
func (v *Variables) unread() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.fault
}

// read reads the credential store. Without a configured one there are no variables;
// opening the broker reports that.
func (v *Variables) read(ctx context.Context) (map[string]string, error) {
	named, err := v.settings.CredentialStore(v.settings.Lookup)
	if err != nil || named.InState && v.settings.DatabaseURL == "" {
		return map[string]string{}, nil
	}
	if err := v.open(ctx, named); err != nil {
		return map[string]string{}, err
	}
	stored, err := v.store.Get(ctx, credhub.AdministratorsPath())
	if err != nil && !errors.Is(err, credhub.ErrNotFound) {
		return nil, err
	}
	return decodeVariables(stored)
}

func decodeVariables(stored json.RawMessage) (map[string]string, error) {
	values := map[string]string{}
	if stored != nil && json.Unmarshal(stored, &values) != nil { // the decoder's error could quote a value
		return nil, fmt.Errorf("%s in the credential store must be an object whose values are text", credhub.AdministratorsPath())
	}
	return values, nil
}

// open opens the credential store, which the catalog needs before the broker opens its
// own.
func (v *Variables) open(ctx context.Context, named CredentialStore) error {
	if v.store != nil {
		return nil
	}
	opened, closeStore, err := named.open(ctx, v.settings)
	if err != nil {
		return err
	}
	v.store, v.closeStore = opened, closeStore
	return nil
}

// open opens the store, and the state if it is in it.
func (named CredentialStore) open(ctx context.Context, s Settings) (_ credhub.Store, closeAll func(), _ error) {
	var pool *pgxpool.Pool
	closeState := func() {}
	if named.InState {
		db, err := OpenState(ctx, s, 2)
		if err != nil {
			return nil, nil, err
		}
		pool, closeState = db.Pool, db.Close
	}
	opened, closeStore, err := named.Open(ctx, pool, nil)
	if err != nil {
		closeState()
		return nil, nil, err
	}
	return opened, func() { closeStore(); closeState() }, nil
}

// OpenCredentials opens the credential store alone, for commands that work without a broker's
// other parts.
func OpenCredentials(ctx context.Context, s Settings) (_ credhub.Store, closeAll func(), _ error) {
	named, err := s.CredentialStore(s.Lookup)
	if err != nil {
		return nil, nil, err
	}
	return named.open(ctx, s)
}

// prepare opens the credential store and, unlike read, requires that one is configured.
func (v *Variables) prepare(ctx context.Context) error {
	named, err := v.settings.CredentialStore(v.settings.Lookup)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.open(ctx, named)
}

// Names lists the names of the credential store's variables.
func (v *Variables) Names(ctx context.Context) ([]string, error) {
	if err := v.prepare(ctx); err != nil {
		return nil, err
	}
	values, err := v.read(ctx)
	return slices.Sorted(maps.Keys(values)), err
}

// Set stores a variable.
func (v *Variables) Set(ctx context.Context, name, value string) error {
	return v.change(ctx, func(values map[string]string) error { values[name] = value; return nil })
}

// Unset removes a variable.
func (v *Variables) Unset(ctx context.Context, name string) error {
	return v.change(ctx, func(values map[string]string) error {
		if _, ok := values[name]; !ok {
			return configErrorf("the credential store has no variable %s", name)
		}
		delete(values, name)
		return nil
	})
}

// change applies do and stores the result. If another writer changes the variables at
// the same time, do is called again with the new ones.
func (v *Variables) change(ctx context.Context, do func(values map[string]string) error) error {
	if err := v.prepare(ctx); err != nil {
		return err
	}
	return v.store.Change(ctx, credhub.AdministratorsPath(), func(stored json.RawMessage) (json.RawMessage, error) {
		values, err := decodeVariables(stored)
		if err != nil {
			return nil, err
		}
		if err := do(values); err != nil {
			return nil, err
		}
		text, err := json.Marshal(values)
		if err != nil {
			return nil, errors.New("the values cannot be encoded")
		}
		return text, nil
	})
}

// reread reads the values again and says whether a used one changed.
func (v *Variables) reread(ctx context.Context) (changed bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.used) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, variablesTime)
	defer cancel()
	values, err := v.read(ctx)
	if err != nil {
		return false, err
	}
	for name := range v.used {
		changed = changed || values[name] != v.values[name]
	}
	v.values = values
	return changed, nil
}

// variablesEvery is how soon a replaced value is used.
const variablesEvery = 10 * time.Second

// watchVariables reopens the backends whose configuration has changed in the credential
// store, until ctx ends. It retries a configuration that does not work, and changes nothing
// until then.
func (s *Server) watchVariables(ctx context.Context) {
	pending := false
	every(ctx, variablesEvery, func() {
		changed, err := s.settings.Variables.reread(ctx)
		if err == nil && (changed || pending) {
			err = s.reopen(ctx)
			pending = err != nil
		}
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "administrators' credentials not replaced, those of before stay", "error", err.Error())
		}
		setFlag(s.metrics.administrators, err == nil)
	})
}

// reopen opens each backend whose configuration a variable has changed since it was
// opened. A new server in the catalog takes a restart.
func (s *Server) reopen(ctx context.Context) error {
	c, err := s.catalog.Again(s.settings.Backends, s.settings.Variables.Lookup, s.settings.Without...)
	if err != nil {
		return err
	}
	var faults []error
	for _, server := range c.Servers() {
		key := server.Key()
		current, ok := s.drivers[key]
		if !ok || bytes.Equal(server.Config.JSON(), s.configs[key].JSON()) {
			continue
		}
		d, err := server.Definition.Open(ctx, server.Config)
		if err != nil {
			faults = append(faults, fmt.Errorf("backend %s: %w", key, err))
			continue
		}
		// A backend that is not ready replaces only one that is not ready, either.
		if err := backendReady(ctx, d); err != nil && backendReady(ctx, current) == nil {
			faults = append(faults, fmt.Errorf("backend %s: %w", key, errors.Join(err, d.Close())))
			continue
		}
		current.Swap(d, func(err error) { s.closed(key, err) })
		s.configs[key] = server.Config
		s.log.InfoContext(ctx, "administrator's credentials replaced", "backend", key)
	}
	return errors.Join(faults...)
}

func backendReady(ctx context.Context, d *services.Driver) error {
	limited, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	return d.CheckReady(limited)
}
