package bench_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/embedded"
)

func barePostgres(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), d.Value("POSTGRES_ADMIN_URL"))
	check(b, err)
	b.Cleanup(func() { _ = conn.Close(context.Background()) }) // b's context has ended
	run := func(statement string) func(context.Context, string) error {
		return func(ctx context.Context, name string) error {
			_, err := conn.Exec(ctx, statement+name)
			return err
		}
	}
	return map[string]func(context.Context, string) error{
		"provision": run("create database bare_"), "bind": run("create role bare_"),
		"unbind": run("drop role bare_"), "deprovision": run("drop database bare_"),
	}
}

// bareMariaDB calls the procedures by which alone the administrator may make
// accounts.
func bareMariaDB(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	server, err := embedded.OpenMariaDB(d.Value("MYSQL_ADMIN_URL"))
	check(b, err)
	b.Cleanup(func() { _ = server.Close() })
	run := func(statement string, parameters int) func(context.Context, string) error {
		return func(ctx context.Context, name string) error {
			_, err := server.ExecContext(ctx, statement, []any{"c_" + name, "c_" + name}[:parameters]...)
			return err
		}
	}
	named := func(statement string) func(context.Context, string) error {
		return func(ctx context.Context, name string) error {
			_, err := server.ExecContext(ctx, statement+" c_"+name)
			return err
		}
	}
	const hash = "'*0123456789ABCDEF0123456789ABCDEF01234567'"
	return map[string]func(context.Context, string) error{
		"provision": named("create database"), "deprovision": named("drop database"),
		"bind":   run("call make_account(?, ?, 'full', "+hash+", 0, 10, 60)", 2),
		"unbind": run("call drop_account(?)", 1),
	}
}
