package workspace

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/embedded"
)

// Options say which servers to start.
type Options struct {
	Catalog string   // empty: catalog.yml in the working directory, or else the binary's own
	Only    []string // types of backends; empty: all that are installed
	Vault   bool     // start a Vault server for the credentials
	// OpenStack also starts a private cloud with Ceph, and serves the plans on them.
	OpenStack bool
	// Progress receives what a user should know meanwhile.
	Progress io.Writer
	// Patience is how long to wait for servers before Start leaves out those that are still
	// starting; 0: until each is up or has failed.
	Patience time.Duration
	// Companions are the servers beside PostgreSQL that can be started; nil: Companions().
	Companions []Companion
}

// Server is a server that runs until it is stopped. If it has a process of its own, it also has
// Done, which receives an error when it ends by itself.
type Server interface {
	Stop(ctx context.Context) error
}

// Servers are the servers that a Folder started.
type Servers struct {
	Vault *embedded.Vault // nil without Options.Vault

	folder     *Folder
	progress   io.Writer
	postgres   *embedded.Postgres
	companions []Server

	// late are the backends of companions that are still starting, and arrivals the results
	// of these starts, which giveUp cancels.
	late     map[string]bool
	arrivals chan arrival
	starting sync.WaitGroup
	giveUp   context.CancelFunc
}

// Start starts the servers on the folder's data, and stores how to reach them.
func (f *Folder) Start(ctx context.Context, o Options) (_ *Servers, err error) {
	s := &Servers{folder: f, progress: o.Progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(time.Now().Add(StopTime)))
		}
	}()
	if s.postgres, err = embedded.StartPostgres(ctx, embedded.Options{Dir: f.Path("postgres")}); err != nil {
		return nil, err
	}
	if err := f.prepareDatabases(ctx, s.postgres); err != nil {
		return nil, err
	}
	if err := f.setEnvironment(s.postgres.Address(), o); err != nil {
		return nil, err
	}
	if err := s.startCompanions(ctx, o); err != nil {
		return nil, err
	}
	if o.Vault {
		if err := s.startVault(ctx); err != nil {
			return nil, err
		}
	}
	return s, f.write()
}

// StopTime limits the servers' end, before they are killed. With the broker's drain time it
// stays below the 10 s that a supervisor allows; RabbitMQ needs most of it.
const StopTime = 8 * time.Second

// Stop ends the servers by the deadline. The error names those that it had to kill, whose data
// survives.
func (s *Servers) Stop(deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	s.cancelStarts()
	servers := s.all()
	errs := make([]error, len(servers))
	var stopped, users sync.WaitGroup
	for _, server := range servers {
		if usesPostgres(server) {
			users.Add(1)
		}
	}
	for i, server := range servers {
		stopped.Go(func() {
			if server == Server(s.postgres) {
				users.Wait()
			}
			errs[i] = server.Stop(ctx)
			if usesPostgres(server) {
				users.Done()
			}
		})
	}
	stopped.Wait()
	return errors.Join(errs...)
}

// usesPostgres says whether a server has to end before its database does.
func usesPostgres(server Server) bool {
	_, is := server.(*embedded.Functions)
	return is
}

func (s *Servers) all() []Server {
	servers := s.companions
	if s.Vault != nil {
		servers = append(servers, s.Vault)
	}
	if s.postgres != nil {
		servers = append(servers, s.postgres)
	}
	return servers
}

// Watch calls ended if a server ends by itself before ctx does.
func (s *Servers) Watch(ctx context.Context, ended func(error)) {
	for _, server := range s.all() {
		process, ok := server.(interface{ Done() <-chan error })
		if !ok {
			continue
		}
		go func() {
			select {
			case <-ctx.Done():
			case err := <-process.Done():
				ended(err)
			}
		}()
	}
}
