package rig

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// Server is the server of one backend of the shipped catalog. Brokers and
// applications reach its TCP ports through proxies. It is safe for concurrent use.
type Server struct {
	// Backend is its name in the catalog.
	Backend string

	process embedded.Process
	proxies []*servicetest.Proxy
	// holds asks the server itself for the names of what tenants have on it.
	holds func(ctx context.Context) ([]string, error)
	// lose removes the data of a server that has ended, and starts an empty one; nil: it cannot.
	lose func(ctx context.Context) error
}

// family is a backend of the shipped catalog. start starts a server for it, and returns the
// variables by which the catalog finds the server. The Server has what it started before it
// failed.
type family struct {
	backend string
	start   func(ctx context.Context, d *Deployment, s *Server) (map[string]string, error)
}

// families are all backends of the shipped catalog that can have a server.
func families() []family {
	list := []family{{"postgres", startPostgres}, {"functions", startFunctions}}
	for _, kind := range embedded.Kinds() {
		if name := backendName(definitionOf(kind.Backend)); name != "" {
			list = append(list, family{name, func(ctx context.Context, d *Deployment, s *Server) (map[string]string, error) {
				return d.startKind(ctx, kind, s)
			}})
		}
	}
	return list
}

// startKind starts a server of package embedded, and puts proxies before it.
func (d *Deployment) startKind(ctx context.Context, kind embedded.Kind, s *Server) (map[string]string, error) {
	o := embedded.KindOptions{Options: embedded.Options{Dir: d.path(s.Backend), NoSync: !d.Durable}, Progress: io.Discard}
	if definition := definitionOf(kind.Backend); definition.AdministratorSQL != nil {
		password := rand.Text()
		d.Secrets.Add("the administrator's password of "+s.Backend, password)
		o.Account = embedded.Account{Name: "chandler", Password: password, SQL: definition.AdministratorSQL("chandler", password)}
	}
	start := kind.Start
	if kind.Files != nil {
		start = d.startChild(kind, s)
	}
	running, err := start(ctx, o)
	if err != nil {
		return nil, err
	}
	s.process, s.holds = running.(embedded.Process), running.Holds
	s.lose = func(ctx context.Context) error {
		if err := removeData(o.Dir); err != nil {
			return err
		}
		empty, err := start(ctx, o)
		if err == nil {
			s.process, s.holds = empty.(embedded.Process), empty.Holds
		}
		return err
	}
	variables, secrets := running.Access(func(address string) string {
		p, failed := s.proxy(address)
		if failed != nil {
			err = errors.Join(err, failed)
			return ""
		}
		return p.Address()
	})
	for what, secret := range secrets {
		d.Secrets.Add(what, secret)
	}
	return variables, err
}

// backendName is the name of the backend in a definition's part of the shipped catalog.
func backendName(d services.Definition) string {
	var document catalogText
	if err := yaml.Unmarshal(d.Catalog, &document); err != nil {
		return ""
	}
	for name := range document.Backends {
		return name
	}
	return ""
}

func definitionOf(kind string) services.Definition {
	definitions := all.Definitions()
	at := slices.IndexFunc(definitions, func(d services.Definition) bool { return d.Name == kind })
	if at < 0 {
		return services.Definition{}
	}
	return definitions[at]
}

// Backends are the names of all backends that a Deployment can have.
func Backends() []string {
	var names []string
	for _, f := range families() {
		names = append(names, f.backend)
	}
	return names
}

// Kill ends the server by kill -9, as a crash would.
func (s *Server) Kill() { s.process.Kill() }

// Restart stops the server if it runs, and starts it on its data and ports.
func (s *Server) Restart(ctx context.Context) error { return s.process.Restart(ctx) }

// Freeze makes all connections to the server hang.
func (s *Server) Freeze() { s.eachProxy((*servicetest.Proxy).Freeze) }

// Thaw ends Freeze.
func (s *Server) Thaw() { s.eachProxy((*servicetest.Proxy).Thaw) }

// Cut closes all connections to the server. New ones work.
func (s *Server) Cut() { s.eachProxy((*servicetest.Proxy).Cut) }

func (s *Server) eachProxy(do func(*servicetest.Proxy)) {
	for _, p := range s.proxies {
		do(p)
	}
}

// Holds returns the names of what tenants have on the server: databases, accounts,
// zones, keys, files. It asks the server itself, without Chandler's code.
func (s *Server) Holds(ctx context.Context) ([]string, error) {
	names, err := s.holds(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask what %s holds: %w", s.Backend, err)
	}
	return names, nil
}

// proxy puts a proxy before an address of the server.
func (s *Server) proxy(address string) (*servicetest.Proxy, error) {
	p, err := servicetest.StartProxy(address)
	if err != nil {
		return nil, err
	}
	s.proxies = append(s.proxies, p)
	return p, nil
}

// close kills the server, which is faster than to stop it: its data is needed only by
// the search for secrets.
func (s *Server) close(ctx context.Context) error {
	var errs []error
	for _, p := range s.proxies {
		errs = append(errs, p.Close())
	}
	if s.process != nil {
		s.process.Kill()
		errs = append(errs, s.process.Stop(ctx))
	}
	return errors.Join(errs...)
}
