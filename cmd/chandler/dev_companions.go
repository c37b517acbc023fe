package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"sync"

	"github.com/chandler-broker/chandler/embedded"
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
	// missing is what start returns, wrapped, where this machine lacks the
	// server; its text says how to get it.
	missing error
	// start starts the server on its own folder and returns the variables of
	// the environment by which the catalog finds it.
	start func(ctx context.Context, f *devFolder) (devServer, map[string]string, error)
}

func companions() []companion {
	return []companion{
		{"queue/nats", nil, startNATS},
		{"dns/powerdns", embedded.ErrNoPowerDNS, startPowerDNS},
	}
}

// startCompanions starts them side by side. What the machine lacks is said in a
// line, and left out of the catalog; any other failure fails.
func (f *devFolder) startCompanions(ctx context.Context, s *devServers, progress io.Writer) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	f.kept.Without = nil
	for _, c := range companions() {
		all.Go(func() {
			server, environment, err := c.start(ctx, f)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				s.companions = append(s.companions, server)
				maps.Copy(f.kept.Environment, environment)
			case c.missing != nil && errors.Is(err, c.missing):
				f.kept.Without = append(f.kept.Without, c.backend)
				_, _ = fmt.Fprintf(progress, "left out: %s: %s\n", c.backend, err)
			default:
				errs = append(errs, fmt.Errorf("start the server of %s: %w", c.backend, err))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func startNATS(ctx context.Context, f *devFolder) (devServer, map[string]string, error) {
	n, err := embedded.StartNATS(ctx, embedded.NATSOptions{Dir: f.path("nats")})
	if err != nil {
		return nil, nil, err
	}
	return n, map[string]string{
		"NATS_URL": n.URL(), "NATS_OPERATOR_SEED_FILE": n.OperatorSeedFile(), "NATS_SYSTEM_CREDS_FILE": n.SystemCredsFile(),
	}, nil
}

func startPowerDNS(ctx context.Context, f *devFolder) (devServer, map[string]string, error) {
	p, err := embedded.StartPowerDNS(ctx, embedded.PowerDNSOptions{Dir: f.path("powerdns")})
	if err != nil {
		return nil, nil, err
	}
	return p, map[string]string{
		"POWERDNS_API_URL": p.APIURL(), "POWERDNS_API_KEY": p.APIKey(), "POWERDNS_HOST": p.Host(), "POWERDNS_PORT": strconv.Itoa(p.Port()),
	}, nil
}
