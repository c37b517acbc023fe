package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/sealed"
	"github.com/chandler-broker/chandler/credhub/vault"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

// administrators are the values that the catalog reads as ${NAME} and the
// environment does not hold: how to administer the backends' servers. They are one
// object in the credential store, NAME to text, and are read anew while the broker
// runs, so that they can be replaced there.
type administrators struct {
	settings settings

	mu     sync.Mutex
	store  credhub.Store // opened when it is first needed
	close  func()
	values map[string]string // nil until they were read
	used   map[string]bool   // names that the catalog took from here
	fault  error             // why they could not be read
}

func newAdministrators(s settings) *administrators {
	return &administrators{settings: s, close: func() {}, used: map[string]bool{}}
}

// administratorsTime is how long the credential store may take to hand them out.
const administratorsTime = 10 * time.Second

// lookup is the environment, and behind it the credential store.
func (a *administrators) lookup(name string) (string, bool) {
	if value, ok := a.settings.lookup(name); ok {
		return value, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.values == nil && a.fault == nil {
		ctx, cancel := context.WithTimeout(context.Background(), administratorsTime)
		defer cancel()
		a.values, a.fault = a.read(ctx)
	}
	value, ok := a.values[name]
	if ok {
		a.used[name] = true
	}
	return value, ok
}

// again makes the next lookup ask the credential store again if it did not answer.
func (a *administrators) again() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = nil
}

// unread is why the credential store could not be asked.
func (a *administrators) unread() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fault
}

// read asks the credential store. Where none is configured there is nothing.
func (a *administrators) read(ctx context.Context) (map[string]string, error) {
	if err := a.open(ctx); err != nil || a.store == nil {
		return map[string]string{}, err
	}
	stored, err := a.store.Get(ctx, credhub.AdministratorsPath())
	if errors.Is(err, credhub.ErrNotFound) {
		return map[string]string{}, nil
	} else if err != nil {
		return nil, err
	}
	return administratorsOf(stored)
}

func administratorsOf(stored json.RawMessage) (map[string]string, error) {
	var values map[string]string
	if json.Unmarshal(stored, &values) != nil { // the decoder's error could quote a value
		return nil, fmt.Errorf("%s in the credential store must be an object whose values are text", credhub.AdministratorsPath())
	}
	return values, nil
}

// change applies do to the values and stores them. If another writer changes them at
// the same time, do is called again with the new values.
func (a *administrators) change(ctx context.Context, do func(values map[string]string) error) error {
	return a.store.Change(ctx, credhub.AdministratorsPath(), func(stored json.RawMessage) (json.RawMessage, error) {
		values := map[string]string{}
		if stored != nil {
			var err error
			if values, err = administratorsOf(stored); err != nil {
				return nil, err
			}
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

// open opens the credential store by itself: the catalog, which the broker is made
// of, needs it first.
func (a *administrators) open(ctx context.Context) error {
	if a.store != nil {
		return nil
	}
	config, keys, err := credentialSettings(a.settings.lookup)
	if err != nil {
		return nil // is told where the broker opens its own
	}
	if config != nil {
		v, err := vault.Open(ctx, *config)
		if err != nil {
			return err
		}
		a.store, a.close = v, func() { _ = v.Close() }
		return nil
	}
	if a.settings.DatabaseURL == "" {
		return nil
	}
	db, err := store.Open(ctx, a.settings.DatabaseURL, 2)
	if err != nil {
		return err
	}
	s, err := sealed.Open(ctx, db.Pool, keys)
	if err != nil {
		db.Close()
		return err
	}
	a.store, a.close = s, db.Close
	return nil
}

// reread reads the values again and says whether one changed that is used.
func (a *administrators) reread(ctx context.Context) (changed bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.used) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, administratorsTime)
	defer cancel()
	values, err := a.read(ctx)
	if err != nil {
		return false, err
	}
	for name := range a.used {
		changed = changed || values[name] != a.values[name]
	}
	a.values = values
	return changed, nil
}

// administratorsEvery is how soon a replaced value is used.
const administratorsEvery = 10 * time.Second

// followAdministrators opens backends anew whose configuration has changed in the
// credential store, until ctx ends. A configuration that does not work changes
// nothing, and is tried again.
func (a *app) followAdministrators(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	pending := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed, err := a.settings.administrators.reread(ctx)
		if err == nil && (changed || pending) {
			err = a.reopen(ctx)
			pending = err != nil
		}
		if err != nil && ctx.Err() == nil {
			a.log.ErrorContext(ctx, "administrators' credentials not replaced, those of before stay", "error", err.Error())
		}
		a.metrics.administratorsCurrent(err == nil)
	}
}

// reopen opens each backend whose configuration a value of the credential store
// has changed since it was opened.
func (a *app) reopen(ctx context.Context) error {
	c, err := a.catalog.Again(all.Definitions(), a.settings.administrators.lookup, a.settings.Without...)
	if err != nil {
		return err
	}
	var faults []error
	for _, s := range c.Servers() {
		key := s.Key()
		current, ok := a.drivers[key]
		if !ok || bytes.Equal(s.Config.JSON(), a.configs[key].JSON()) {
			continue // a new server takes a restart
		}
		d, err := s.Definition.Open(ctx, s.Config)
		if err != nil {
			faults = append(faults, fmt.Errorf("backend %s: %w", key, err))
			continue
		}
		// One that is not ready is better than another that is not, either.
		if err := ready(ctx, d); err != nil && ready(ctx, current) == nil {
			faults = append(faults, fmt.Errorf("backend %s: %w", key, errors.Join(err, d.Close())))
			continue
		}
		current.Swap(d, func(err error) {
			if err != nil {
				a.log.WarnContext(ctx, "backend could not be closed", "backend", key, "error", err.Error())
			}
		})
		a.configs[key] = s.Config
		a.log.InfoContext(ctx, "administrator's credentials replaced", "backend", key)
	}
	return errors.Join(faults...)
}

func ready(ctx context.Context, d *services.Driver) error {
	limited, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	return d.CheckReady(limited)
}

var variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

func newAdministratorsVerbs() *cobra.Command {
	change := func(use, short string, prepare func(name string, in io.Reader) (func(values map[string]string) error, error)) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: usageArgs(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				if !variableName.MatchString(args[0]) {
					return usagef("%q: a variable's name must consist of capital letters, digits and _", args[0])
				}
				do, err := prepare(args[0], cmd.InOrStdin())
				if err != nil {
					return err
				}
				return withAdministrators(cmd.Context(), func(a *administrators) error { return a.change(cmd.Context(), do) })
			},
		}
	}
	cmd := newNoun("administrators", "Keep the catalog's secret variables in the credential store",
		&cobra.Command{
			Use: "list", Short: "List the names that the credential store has", Args: usageArgs(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withAdministrators(cmd.Context(), func(a *administrators) error {
					values, err := a.read(cmd.Context())
					if err != nil {
						return err
					}
					for _, name := range slices.Sorted(maps.Keys(values)) {
						fmt.Fprintln(cmd.OutOrStdout(), name)
					}
					return nil
				})
			},
		},
		change("set NAME", "Store a value, read from standard input", func(name string, in io.Reader) (func(map[string]string) error, error) {
			text, err := io.ReadAll(io.LimitReader(bufio.NewReader(in), 1<<20))
			if err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
			value := strings.TrimRight(string(text), "\r\n")
			if value == "" {
				return nil, usagef("standard input is empty: the value is read from there, such as with < file")
			}
			return func(values map[string]string) error { values[name] = value; return nil }, nil
		}),
		change("unset NAME", "Remove a value", func(name string, _ io.Reader) (func(map[string]string) error, error) {
			return func(values map[string]string) error {
				if _, ok := values[name]; !ok {
					return usagef("the credential store has no variable %s", name)
				}
				delete(values, name)
				return nil
			}, nil
		}))
	cmd.Long = `The catalog's ${NAME} is the environment's variable of that name or, where there is none,
what the credential store has under it. Running brokers notice within seconds that a
value there was replaced, and open the backends anew that use it, if they are ready with
it. A value is read from standard input, so that no list of processes shows it:

  chandler administrators set POSTGRES_ADMIN_URL < file

In Vault these are the keys of the secret "administrators" below VAULT_KV_PREFIX.`
	return cmd
}

// withAdministrators opens the credential store, without a catalog.
func withAdministrators(ctx context.Context, do func(*administrators) error) error {
	s, err := environmentSettings()
	if err != nil {
		return err
	}
	if _, _, err := credentialSettings(s.lookup); err != nil {
		return err
	}
	a := newAdministrators(s)
	defer func() { a.close() }()
	if err := a.open(ctx); err != nil {
		return err
	}
	if a.store == nil {
		return errNoDatabase
	}
	return do(a)
}
