package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/all"
)

// devServer is a server that runs until it is stopped. One that runs as a process
// of its own also has Done, which receives an error when it ends by itself.
type devServer interface {
	Stop(ctx context.Context) error
}

// companion is a server that chandler dev starts for one type of backend.
type companion struct {
	// backend is the type of backend in the catalog that needs it.
	backend string
	// start starts the server on its own folder and returns the variables of
	// the environment by which the catalog finds it. Its error says what to
	// install. What takes minutes tells
	// progress.
	start func(ctx context.Context, f *devFolder, _ io.Writer) (devServer, map[string]string, error)
}

func companions() []companion {
	var list []companion
	for _, kind := range embedded.Kinds() {
		list = append(list, companion{kind.Backend, func(ctx context.Context, f *devFolder, progress io.Writer) (devServer, map[string]string, error) {
			return f.startKind(ctx, kind, progress)
		}})
	}
	return append(list, companion{functionsBackend, startFunctions})
}

// startKind starts a server of package embedded on the folder of its backend.
func (f *devFolder) startKind(ctx context.Context, kind embedded.Kind, progress io.Writer) (devServer, map[string]string, error) {
	o := embedded.Options{Dir: f.path(kind.Folder), Progress: progress}
	for _, d := range all.Definitions() {
		if d.Name == kind.Backend && d.AdministratorSQL != nil {
			o.Account = embedded.Account{Name: administrator, Password: f.kept.AdminPassword, SQL: d.AdministratorSQL(administrator, f.kept.AdminPassword)}
		}
	}
	s, err := kind.Start(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	return s.Server, s.Variables(func(address string) string { return address }), nil
}

// administrator is the broker's account on servers that have none for it.
const administrator = "chandler"

// stateBackend is the backend whose server holds the state, too: it always runs.
const stateBackend = "database/postgres"

// checkOnly refuses the name of a backend for which nothing could be started.
func checkOnly(only []string) error {
	known := []string{stateBackend}
	for _, c := range companions() {
		known = append(known, c.backend)
	}
	for _, name := range only {
		if !slices.Contains(known, name) {
			return usagef("--only %q: unknown type of backend; choose one or more of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// arrival is the result of starting a companion.
type arrival struct {
	backend     string
	server      devServer
	environment map[string]string
	err         error
}

const (
	// companionPatience is how long chandler dev waits for its servers before it
	// serves without those that are slow.
	companionPatience = 30 * time.Second
	// companionPause is the time between two attempts to start one.
	companionPause = 5 * time.Second
)

// startCompanions starts those in o.only, or all, in parallel, and waits for them.
// What is not installed is left out of the catalog and reported in a line. With
// o.patience, servers that are not up by then continue to start and arrive later.
func (f *devFolder) startCompanions(ctx context.Context, s *devServers, o devOptions) error {
	f.kept.Only, f.kept.Without = o.only, nil
	var wanted []companion
	for _, c := range append(slices.Clone(o.companions), companion{backend: stateBackend}) {
		switch {
		case len(o.only) > 0 && !slices.Contains(o.only, c.backend):
			f.kept.Without = append(f.kept.Without, c.backend)
		case c.backend != stateBackend: // which runs already
			wanted = append(wanted, c)
		}
	}
	s.arrivals, s.late = make(chan arrival, len(wanted)), map[string]bool{}
	starting, giveUp := context.WithCancel(ctx)
	s.giveUp = giveUp
	for _, c := range wanted {
		s.late[c.backend] = true
		f.kept.Without = append(f.kept.Without, c.backend)
		s.starting.Go(func() { s.arrivals <- c.try(starting, f, o) })
	}
	var patience <-chan time.Time
	if o.patience > 0 {
		patience = time.After(o.patience)
	}
	for len(s.late) > 0 {
		select {
		case a := <-s.arrivals:
			f.arrived(s, a, o.progress)
		case <-patience:
			for _, backend := range slices.Sorted(maps.Keys(s.late)) {
				_, _ = fmt.Fprintf(o.progress, "later: %s: its server is still starting; its plans are served once it is up\n", backend)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// try starts a companion. With o.patience it tries again until it is up or ctx ends.
func (c companion) try(ctx context.Context, f *devFolder, o devOptions) arrival {
	for first := true; ; first = false {
		server, environment, err := c.start(ctx, f, o.progress)
		if err == nil || o.patience == 0 || embedded.NotInstalled(err) || ctx.Err() != nil {
			return arrival{c.backend, server, environment, err}
		}
		if first {
			_, _ = fmt.Fprintf(o.progress, "not up: %s: %s; trying again\n", c.backend, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(companionPause):
		}
	}
}

// arrived adds a companion's backend, or reports why it is left out.
func (f *devFolder) arrived(s *devServers, a arrival, progress io.Writer) {
	delete(s.late, a.backend)
	if a.err != nil {
		_, _ = fmt.Fprintf(progress, "left out: %s: %s\n", a.backend, a.err)
		return
	}
	s.companions = append(s.companions, a.server)
	maps.Copy(f.kept.Environment, a.environment)
	f.kept.Without = slices.DeleteFunc(f.kept.Without, func(backend string) bool { return backend == a.backend })
}
