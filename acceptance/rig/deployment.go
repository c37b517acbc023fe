package rig

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// Options describe a Deployment.
type Options struct {
	// Binary is what Build returned.
	Binary string
	// Dir is the folder of everything. Every user must be able to reach it.
	Dir string
	// Vault is what embedded.BuildVault returned; empty: the sealed store has the
	// credentials.
	Vault string
	// Backends are those of the shipped catalog that get a server; nil: only PostgreSQL.
	Backends []string
	// Catalog is the catalog.yml; nil: the shipped one, reduced to Backends.
	Catalog []byte
	// Durable makes the servers wait for the disk, as in production. Tests are faster
	// without.
	Durable bool
	// Environment are more variables of the brokers.
	Environment map[string]string
}

// Deployment is an installation as in production: a PostgreSQL server for the state, a server
// for each backend, Vault, and brokers, which reach Vault and the backends' servers through
// proxies.
type Deployment struct {
	Options
	State      *embedded.Postgres
	Servers    []*Server          // in the order of Options.Backends
	Vault      *embedded.Vault    // nil with the sealed store
	VaultProxy *servicetest.Proxy // nil with the sealed store

	// Tenants and TenantsProxy are the server of the backend postgres, if there is one.
	Tenants      *embedded.Postgres
	TenantsProxy *servicetest.Proxy

	// Cloud has the servers of the backends on OpenStack and Ceph, and Keystone is the server
	// that those on OpenStack share; nil: there are none.
	Cloud    *openstack.Cloud
	Keystone *Server

	// Username and Password are the platform's.
	Username, Password string
	// StateURL is the superuser's URL of the state database.
	StateURL string
	Secrets  Ledger
	Answers  Answers
	Commands CommandLines

	env     map[string]string // by name
	brokers []*Broker
}

const stateRole = "chandler"

// Deploy starts the servers and sets them up for brokers.
func Deploy(ctx context.Context, o Options) (_ *Deployment, err error) {
	d := &Deployment{Options: o, Username: "platform", Password: rand.Text()}
	if d.Backends == nil {
		d.Backends = []string{"postgres"}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if err := os.MkdirAll(d.path("tmp"), 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(d.Dir, 0o711); err != nil { // servers run as users of their own
		return nil, err
	}
	d.Secrets.Add("the platform's password", d.Password)
	d.Secrets.Add("the platform's Authorization", base64.StdEncoding.EncodeToString([]byte(d.Username+":"+d.Password)))
	operator := rand.Text()
	d.Secrets.Add("the operator's password", operator)
	d.env = map[string]string{
		"CHANDLER_OPERATOR_USERNAME": "operator", "CHANDLER_OPERATOR_PASSWORD": operator,
		"PATH": os.Getenv("PATH"), "HOME": d.path("tmp"), "TMPDIR": d.path("tmp"),
		"CHANDLER_USERNAME": d.Username, "CHANDLER_PASSWORD": d.Password, "CHANDLER_CATALOG": d.path("catalog.yml"),
	}
	for _, setUp := range []func(context.Context) error{d.setUpState, d.setUpCloud, d.setUpServers, d.setUpCredentials, d.writeCatalog} {
		if err := setUp(ctx); err != nil {
			return nil, err
		}
	}
	maps.Copy(d.env, o.Environment)
	d.Commands.Watch()
	return d, nil
}

func (d *Deployment) path(name string) string { return filepath.Join(d.Dir, name) }

// writeCatalog writes the catalog for the brokers.
func (d *Deployment) writeCatalog(context.Context) (err error) {
	if d.Catalog == nil {
		if d.Catalog, err = ShippedCatalog(d.Backends...); err != nil {
			return err
		}
	}
	return os.WriteFile(d.path("catalog.yml"), d.Catalog, 0o600)
}

func (d *Deployment) setUpState(ctx context.Context) (err error) {
	if d.State, err = d.postgres(ctx, "state"); err != nil {
		return err
	}
	password := rand.Text()
	d.Secrets.Add("the state database's password", password)
	err = administer(ctx, d.State, "create role "+stateRole+" login password '"+password+"'",
		"create database "+stateRole+" owner "+stateRole)
	if err != nil {
		return err
	}
	d.StateURL = d.State.URL(stateRole)
	d.env["DATABASE_URL"] = embedded.PostgresURL(d.State.Address(), stateRole, password, stateRole)
	return nil
}

// setUpServers starts the backends' servers in parallel.
func (d *Deployment) setUpServers(ctx context.Context) error {
	environments := make([]map[string]string, len(d.Backends))
	faults := make([]error, len(d.Backends))
	var all sync.WaitGroup
	for i, name := range d.Backends {
		s := &Server{Backend: name}
		d.Servers = append(d.Servers, s)
		all.Go(func() { environments[i], faults[i] = d.start(ctx, s) })
	}
	all.Wait()
	for _, environment := range environments {
		maps.Copy(d.env, environment)
	}
	return errors.Join(faults...)
}

func (d *Deployment) start(ctx context.Context, s *Server) (map[string]string, error) {
	if f, ok := cloudFamilyOf(s.Backend); ok {
		return d.startCloudServer(f, s)
	}
	for _, f := range families() {
		if f.backend == s.Backend {
			environment, err := f.start(ctx, d, s)
			if err != nil {
				err = fmt.Errorf("backend %s: %w", s.Backend, err)
			}
			return environment, err
		}
	}
	return nil, fmt.Errorf("unknown backend %q", s.Backend)
}

func (d *Deployment) setUpCredentials(ctx context.Context) error {
	if d.Options.Vault != "" {
		return d.setUpVault(ctx)
	}
	key := base64.StdEncoding.EncodeToString(services.RandomKey())
	d.Secrets.Add("the key that seals credentials", key)
	d.env["CHANDLER_SEALED_KEY"] = key
	return nil
}

// Value is a variable of the brokers' environment.
func (d *Deployment) Value(name string) string { return d.env[name] }

// Env is the brokers' environment, with the variables in more added or replaced.
func (d *Deployment) Env(more map[string]string) []string {
	all := maps.Clone(d.env)
	maps.Copy(all, more)
	var env []string
	for name, value := range all {
		env = append(env, name+"="+value)
	}
	return env
}

// Verb runs an operator command to its end in the brokers' environment.
func (d *Deployment) Verb(ctx context.Context, args ...string) (Result, error) {
	return Run(ctx, Command{Name: "verbs", Path: d.Binary, Args: args, Env: d.Env(nil), Dir: d.Dir})
}

// Close ends the brokers and the servers. The files remain, for the search for secrets.
func (d *Deployment) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	d.Commands.Stop()
	var errs []error
	for _, b := range d.brokers {
		b.Kill()
	}
	for _, s := range d.Servers {
		errs = append(errs, s.close(ctx))
	}
	errs = append(errs, d.closeCloud(ctx))
	if d.VaultProxy != nil {
		errs = append(errs, d.VaultProxy.Close())
	}
	if d.State != nil {
		errs = append(errs, d.State.Stop(ctx))
	}
	if d.Vault != nil {
		errs = append(errs, d.Vault.Stop(ctx))
	}
	return errors.Join(errs...)
}
