package rig

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/postgres"
)

// Options says what a Deployment is made of.
type Options struct {
	// Binary is what Build returned.
	Binary string
	// Dir is a folder for all of it, which is made.
	Dir string
	// Vault is what embedded.BuildVault returned; empty: the sealed store keeps
	// the credentials.
	Vault string
	// Catalog is the catalog.yml; nil: the shipped one, as far as it is
	// PostgreSQL's.
	Catalog []byte
	// Durable makes the PostgreSQL servers wait for the disk, as production's
	// do; without, tests are faster.
	Durable bool
	// Environment is added to the brokers'.
	Environment map[string]string
}

// Deployment is an installation as in production: a PostgreSQL server for the
// state, another one for the tenants, Vault, and brokers, which reach the
// tenants' server and Vault through proxies.
type Deployment struct {
	Options
	State, Tenants *embedded.Postgres
	Vault          *embedded.Vault // nil with the sealed store
	TenantsProxy   *Proxy
	VaultProxy     *Proxy // nil with the sealed store

	// Username and Password are the platform's.
	Username, Password string
	// StateURL is the state database for its superuser.
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
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if err := os.MkdirAll(d.path("tmp"), 0o700); err != nil {
		return nil, err
	}
	d.Secrets.Add("the platform's password", d.Password)
	d.Secrets.Add("the platform's Authorization", base64.StdEncoding.EncodeToString([]byte(d.Username+":"+d.Password)))
	d.env = map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": d.path("tmp"), "TMPDIR": d.path("tmp"),
		"CHANDLER_USERNAME": d.Username, "CHANDLER_PASSWORD": d.Password, "CHANDLER_CATALOG": d.path("catalog.yml"),
	}
	if d.Catalog == nil {
		if d.Catalog, err = PostgresCatalog(); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(d.path("catalog.yml"), d.Catalog, 0o600); err != nil {
		return nil, err
	}
	for _, setUp := range []func(context.Context) error{d.setUpState, d.setUpTenants, d.setUpCredentials} {
		if err := setUp(ctx); err != nil {
			return nil, err
		}
	}
	for name, value := range o.Environment {
		d.env[name] = value
	}
	d.Commands.Watch()
	return d, nil
}

func (d *Deployment) path(name string) string { return filepath.Join(d.Dir, name) }

func (d *Deployment) postgres(ctx context.Context, name string) (*embedded.Postgres, error) {
	server, err := embedded.StartPostgres(ctx, embedded.PostgresOptions{Dir: d.path(name), NoSync: !d.Durable})
	if err != nil {
		return nil, err
	}
	return server, d.Secrets.AddURL("the superuser's password of "+name, server.URL("postgres"))
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
	d.env["DATABASE_URL"] = serverURL(net.JoinHostPort(d.State.Host(), strconv.Itoa(d.State.Port())), stateRole, password, stateRole)
	return nil
}

func (d *Deployment) setUpTenants(ctx context.Context) (err error) {
	if d.Tenants, err = d.postgres(ctx, "tenants"); err != nil {
		return err
	}
	password := rand.Text()
	d.Secrets.Add("the tenants' administrator's password", password)
	if err := administer(ctx, d.Tenants, postgres.AdministratorSQL("administrator", password)); err != nil {
		return err
	}
	if d.TenantsProxy, err = NewProxy(net.JoinHostPort(d.Tenants.Host(), strconv.Itoa(d.Tenants.Port()))); err != nil {
		return err
	}
	d.env["POSTGRES_ADMIN_URL"] = serverURL(d.TenantsProxy.Addr(), "administrator", password, "postgres")
	return nil
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

func serverURL(address, user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: address, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

func administer(ctx context.Context, server *embedded.Postgres, statements ...string) error {
	conn, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return fmt.Errorf("reach the server: %w", err)
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("set up the server: %w", err)
		}
	}
	return nil
}

// Value is a variable of the brokers' environment.
func (d *Deployment) Value(name string) string { return d.env[name] }

// Env is the brokers' environment; what more says comes on top.
func (d *Deployment) Env(more map[string]string) []string {
	var env []string
	for name, value := range d.env {
		if _, replaced := more[name]; !replaced {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range more {
		env = append(env, name+"="+value)
	}
	return env
}

// Verb runs one of chandler's verbs to its end in the brokers' environment.
func (d *Deployment) Verb(ctx context.Context, args ...string) (Result, error) {
	return Run(ctx, Command{Name: "verbs", Path: d.Binary, Args: args, Env: d.Env(nil), Dir: d.Dir})
}

// Close ends the brokers and the servers. The files stay, for the one who looks
// for secrets.
func (d *Deployment) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	d.Commands.Stop()
	var errs []error
	for _, b := range d.brokers {
		b.Kill()
	}
	for _, p := range []*Proxy{d.TenantsProxy, d.VaultProxy} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	for _, s := range []*embedded.Postgres{d.State, d.Tenants} {
		if s != nil {
			errs = append(errs, s.Stop(ctx))
		}
	}
	if d.Vault != nil {
		errs = append(errs, d.Vault.Stop(ctx))
	}
	return errors.Join(errs...)
}
