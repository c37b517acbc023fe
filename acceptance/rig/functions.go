package rig

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded"
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
