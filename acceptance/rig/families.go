package rig

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/database/postgres"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// postgresAdministrator is the broker's role on servers of tenants.
const postgresAdministrator = "administrator"

func (d *Deployment) postgres(ctx context.Context, name string) (*embedded.Postgres, error) {
	server, err := embedded.StartPostgres(ctx, embedded.Options{Dir: d.path(name), NoSync: !d.Durable})
	if err != nil {
		return nil, err
	}
	return server, d.Secrets.AddURL("the superuser's password of "+name, server.URL("postgres"))
}

func startPostgres(ctx context.Context, d *Deployment, s *Server) (map[string]string, error) {
	server, proxy, url, err := d.tenants(ctx, s, "tenants")
	if err != nil {
		return nil, err
	}
	d.Tenants, d.TenantsProxy = server, proxy
	return map[string]string{"POSTGRES_ADMIN_URL": url}, nil
}

// AddPostgres starts another server for tenants' databases, which the brokers administer by
// the URL in the variable.
func (d *Deployment) AddPostgres(ctx context.Context, name, variable string) (*Server, *embedded.Postgres, error) {
	s := &Server{Backend: name}
	d.Servers = append(d.Servers, s)
	postgres, _, url, err := d.tenants(ctx, s, name)
	if err != nil {
		return nil, nil, err
	}
	d.env[variable] = url
	return s, postgres, nil
}

// tenants starts a server of tenants, which a broker can administer by the URL.
func (d *Deployment) tenants(ctx context.Context, s *Server, name string) (server *embedded.Postgres, proxy *servicetest.Proxy, url string, err error) {
	if server, err = d.postgres(ctx, name); err != nil {
		return nil, nil, "", err
	}
	s.process = server
	s.holds = func(ctx context.Context) ([]string, error) { return postgresHolds(ctx, server) }
	password := rand.Text()
	d.Secrets.Add("the administrator's password of "+name, password)
	if err := administer(ctx, server, postgres.AdministratorSQL(postgresAdministrator, password)); err != nil {
		return nil, nil, "", err
	}
	s.lose = func(ctx context.Context) error {
		if err := removeData(d.path(name)); err != nil {
			return err
		}
		empty, err := d.postgres(ctx, name)
		if err != nil {
			return err
		}
		if d.Tenants == server {
			d.Tenants = empty
		}
		server, s.process = empty, empty
		return administer(ctx, empty, postgres.AdministratorSQL(postgresAdministrator, password))
	}
	if proxy, err = s.proxy(server.Address()); err != nil {
		return nil, nil, "", err
	}
	return server, proxy, embedded.PostgresURL(proxy.Address(), postgresAdministrator, password, "postgres"), nil
}

// postgresHolds are the databases and roles, without the server's own and spares.
func postgresHolds(ctx context.Context, server *embedded.Postgres) ([]string, error) {
	conn, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, _ := conn.Query(ctx, `select name from (select datname from pg_database union select rolname from pg_roles) there(name)
		where name not in ('postgres', 'template0', 'template1', $1::name, $1::text || '_backup') and name !~ '^(pg_|c_spare_)'`, postgresAdministrator)
	return pgx.CollectRows(rows, pgx.RowTo[string])
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

// startFunctions runs a function runtime on a PostgreSQL server of its own.
func startFunctions(ctx context.Context, d *Deployment, s *Server) (map[string]string, error) {
	database, err := d.postgres(ctx, "functions-state")
	if err != nil {
		return nil, err
	}
	s.process = database
	s.holds = func(ctx context.Context) ([]string, error) { return functionsHold(ctx, database) }
	program, err := embedded.BuildFunctions(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	o := embedded.FunctionsOptions{
		Program: program, Dir: d.path("functions"), DatabaseURL: database.URL("postgres"),
		Env: []string{"FUNCTIONS_MESSAGE_SERVERS=*"},
	}
	runtime, err := embedded.StartFunctions(ctx, o)
	if err != nil {
		return nil, err
	}
	s.process = both{database, runtime}
	s.lose = func(ctx context.Context) error {
		if err := errors.Join(removeData(d.path("functions-state")), removeData(o.Dir)); err != nil {
			return err
		}
		empty, err := d.postgres(ctx, "functions-state")
		if err != nil {
			return err
		}
		again, err := embedded.StartFunctions(ctx, o)
		if err != nil {
			return errors.Join(err, empty.Stop(ctx))
		}
		s.process, s.holds = both{empty, again}, func(ctx context.Context) ([]string, error) { return functionsHold(ctx, empty) }
		return nil
	}
	d.Secrets.Add("the key of the functions' runtimes", runtime.Key())
	d.Secrets.Add("the token of the functions' runtimes", runtime.AdminToken())
	admin, err := s.proxy(strings.TrimPrefix(runtime.AdminURL(), "http://"))
	if err != nil {
		return nil, err
	}
	api, err := s.proxy(runtime.Address())
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"FUNCTIONS_ADMIN_URL": "http://" + admin.Address(), "FUNCTIONS_ADMIN_TOKEN": runtime.AdminToken(), "FUNCTIONS_API_HOST": "http://" + api.Address(),
	}, nil
}

// both are a server, and the server of its database.
type both struct{ database, server embedded.Process }

func (b both) Kill() {
	b.server.Kill()
	b.database.Kill()
}

// Restart restarts the server last, because it would end without its database.
func (b both) Restart(ctx context.Context) error {
	b.server.Kill()
	if err := b.database.Restart(ctx); err != nil {
		return err
	}
	return b.server.Restart(ctx)
}

func (b both) Stop(ctx context.Context) error {
	return errors.Join(b.server.Stop(ctx), b.database.Stop(ctx))
}

// functionsHold are the namespaces, the keys, and the namespaces of all other rows.
func functionsHold(ctx context.Context, database *embedded.Postgres) ([]string, error) {
	conn, err := pgx.Connect(ctx, database.URL("postgres"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	var exists bool
	if err := conn.QueryRow(ctx, "select to_regclass('functions.feeds') is not null").Scan(&exists); err != nil || !exists {
		return nil, err
	}
	rows, _ := conn.Query(ctx, `select name from functions.namespaces union select binding from functions.keys
		union select namespace from functions.actions union select namespace from functions.activations union select namespace from functions.feeds`)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
