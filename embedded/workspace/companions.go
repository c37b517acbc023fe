package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/all"
)

// Companion is a server beside PostgreSQL, for one or more types of backends.
type Companion struct {
	// Backends are the types of backends in the catalog that need it.
	Backends []string
	// Start starts the server on its own folder, and returns the variables by which the
	// catalog finds it. Its error says what to install. It writes what takes minutes to
	// progress.
	Start func(ctx context.Context, f *Folder, progress io.Writer) (Server, map[string]string, error)
}

func (c Companion) name() string { return nameOf(c.Backends) }

func nameOf(backends []string) string { return strings.Join(backends, ", ") }

// Companions are all companions but the cloud.
func Companions() []Companion {
	var list []Companion
	for _, kind := range embedded.Kinds() {
		list = append(list, Companion{[]string{kind.Backend}, func(ctx context.Context, f *Folder, progress io.Writer) (Server, map[string]string, error) {
			return f.startKind(ctx, kind, progress)
		}})
	}
	return append(list, Companion{[]string{functionsBackend}, startFunctions})
}

// administrator is the broker's account on servers whose own account it cannot use.
const administrator = "chandler"

// startKind starts a server of package embedded on the folder of its backend.
func (f *Folder) startKind(ctx context.Context, kind embedded.Kind, progress io.Writer) (Server, map[string]string, error) {
	o := embedded.KindOptions{Options: embedded.Options{Dir: f.Path(kind.Folder)}, Progress: progress}
	for _, d := range all.Definitions() {
		if d.Name == kind.Backend && d.AdministratorSQL != nil {
			password := f.Settings.AdminPassword
			o.Account = embedded.Account{Name: administrator, Password: password, SQL: d.AdministratorSQL(administrator, password)}
		}
	}
	s, err := kind.Start(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	variables, _ := s.Access(func(address string) string { return address })
	if g, ok := s.(gateway); ok && kind.Backend == gatewayBackend {
		backups, err := prepareBackups(ctx, g, f.Settings.BackupsPassword)
		if err != nil {
			return nil, nil, errors.Join(err, s.Stop(ctx))
		}
		maps.Copy(variables, backups)
	}
	return s, variables, nil
}

// stateBackend is the backend whose server has the state, too: it always runs.
const stateBackend = "database/postgres"

// Backends checks types of backends, and replaces former names.
func Backends(types []string) ([]string, error) {
	types = currentBackends(types)
	known := []string{stateBackend}
	for _, c := range append(Companions(), cloudCompanion()) {
		known = append(known, c.Backends...)
	}
	for _, t := range types {
		if !slices.Contains(known, t) {
			return nil, usagef("--only %q: unknown type of backend; choose one or more of %s", t, strings.Join(known, ", "))
		}
	}
	return types, nil
}

// arrival is the result of starting a companion.
type arrival struct {
	backends    []string
	server      Server
	environment map[string]string
	err         error
}

// retryPause is the time between two attempts to start a companion.
const retryPause = 5 * time.Second

// startCompanions starts those in o.Only, or all, in parallel, and waits for them. It leaves out
// of the catalog those that are not installed, and reports them. With o.Patience, servers that
// are not up by then continue to start.
func (s *Servers) startCompanions(ctx context.Context, o Options) error {
	settings := &s.folder.Settings
	settings.Only, settings.Without = o.Only, []string{catalog.WithoutBackups} // until their gateway is up
	wanted := func(backends ...string) bool {
		return len(o.Only) == 0 || slices.ContainsFunc(backends, func(b string) bool { return slices.Contains(o.Only, b) })
	}
	if !wanted(stateBackend) {
		settings.Without = append(settings.Without, stateBackend)
	}
	companions := o.Companions
	if companions == nil {
		companions = Companions()
		if o.OpenStack {
			companions = append(companions, cloudCompanion())
		}
	}
	s.arrivals, s.late = make(chan arrival, len(companions)), map[string]bool{}
	starting, giveUp := context.WithCancel(ctx)
	s.giveUp = giveUp
	for _, c := range companions {
		settings.Without = append(settings.Without, c.Backends...)
		if wanted(c.Backends...) {
			s.late[c.name()] = true
			s.starting.Go(func() { s.arrivals <- s.try(starting, c, o.Patience > 0) })
		}
	}
	patience := ctx
	if o.Patience > 0 {
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(ctx, o.Patience)
		defer cancel()
	}
	for more := true; more; {
		_, more = s.receive(patience)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, backend := range s.Late() {
		s.reportf("later: %s: its server is still starting; its plans are served once it is up\n", backend)
	}
	return nil
}

// try starts a companion. With again, it retries until the companion is up or ctx ends.
func (s *Servers) try(ctx context.Context, c Companion, again bool) arrival {
	for first := true; ; first = false {
		server, environment, err := c.Start(ctx, s.folder, s.progress)
		if err == nil || !again || embedded.NotInstalled(err) || ctx.Err() != nil {
			return arrival{c.Backends, server, environment, err}
		}
		if first {
			s.reportf("not up: %s: %s; trying again\n", c.name(), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
	}
}

// Late are the backends whose servers are still starting.
func (s *Servers) Late() []string { return slices.Sorted(maps.Keys(s.late)) }

// Next waits for a server that is still starting, and adds its backend to the settings. It returns
// false if ctx ends or no server is left.
func (s *Servers) Next(ctx context.Context) bool {
	arrived, more := s.receive(ctx)
	for arrived == "" && more {
		arrived, more = s.receive(ctx)
	}
	if arrived == "" {
		return false
	}
	if err := s.folder.write(); err != nil {
		s.reportf("the settings are not stored: %s\n", err)
	}
	s.reportf("up: %s: its plans are served now\n", arrived)
	return true
}

// receive waits for the result of one start. It returns the backend that is up, if any; more is
// false if ctx ended or no server is starting.
func (s *Servers) receive(ctx context.Context) (backend string, more bool) {
	if len(s.late) == 0 {
		return "", false
	}
	select {
	case a := <-s.arrivals:
		name := nameOf(a.backends)
		delete(s.late, name)
		if a.err != nil {
			s.reportf("left out: %s: %s\n", name, a.err)
			return "", true
		}
		s.companions = append(s.companions, a.server)
		settings := &s.folder.Settings
		maps.Copy(settings.Environment, a.environment)
		_, backups := a.environment[catalog.BackupVariables+"ENDPOINT"]
		settings.Without = slices.DeleteFunc(settings.Without, func(left string) bool {
			return slices.Contains(a.backends, left) || backups && left == catalog.WithoutBackups
		})
		return name, true
	case <-ctx.Done():
		return "", false
	}
}

// cancelStarts cancels the starts in progress, and adds the servers that have just started, so
// that Stop stops them, too.
func (s *Servers) cancelStarts() {
	if s.giveUp == nil {
		return
	}
	s.giveUp()
	s.starting.Wait()
	close(s.arrivals)
	for a := range s.arrivals {
		if a.err == nil {
			s.companions = append(s.companions, a.server)
		}
	}
	s.giveUp = nil
}

func (s *Servers) reportf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.progress, format, args...)
}
