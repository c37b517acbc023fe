package rig

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/servicetest"
)

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
	runtime, err := embedded.StartFunctions(ctx, embedded.FunctionsOptions{
		Program: program, Dir: d.path("functions"), DatabaseURL: database.URL("postgres"),
		Env: []string{"FUNCTIONS_MESSAGE_SERVERS=*"},
	})
	if err != nil {
		return nil, err
	}
	s.process = both{database, runtime}
	d.Secrets.Add("the key of the functions' runtimes", runtime.Key())
	d.Secrets.Add("the token of the functions' runtimes", runtime.AdminToken())
	broker, err := s.proxyURL(runtime.AdminURL())
	if err != nil {
		return nil, err
	}
	api, err := s.proxyURL(runtime.URL())
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"FUNCTIONS_ADMIN_URL": "http://" + broker.Address(), "FUNCTIONS_ADMIN_TOKEN": runtime.AdminToken(), "FUNCTIONS_API_HOST": "http://" + api.Address(),
	}, nil
}

func (s *Server) proxyURL(text string) (*servicetest.Proxy, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return nil, err
	}
	return s.proxy(u.Hostname(), port)
}

// both are a server and the one that it keeps its data on.
type both struct{ database, server embedded.Process }

func (b both) Kill() {
	b.server.Kill()
	b.database.Kill()
}

// Restart restarts the server last, so that it does not end for want of its
// database.
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

// functionsHold are the namespaces, the keys, and whatever else has a row that is
// a namespace's.
func functionsHold(ctx context.Context, database *embedded.Postgres) ([]string, error) {
	conn, err := pgx.Connect(ctx, database.URL("postgres"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	var there bool
	if err := conn.QueryRow(ctx, "select to_regclass('functions.feeds') is not null").Scan(&there); err != nil || !there {
		return nil, err
	}
	rows, _ := conn.Query(ctx, `select name from functions.namespaces union select binding from functions.keys
		union select namespace from functions.actions union select namespace from functions.activations union select namespace from functions.feeds`)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
