package embeddedtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func TestDatabaseIsFreshAndDropped(t *testing.T) {
	ctx := context.Background()
	var dropped string
	t.Run("first", func(t *testing.T) {
		dropped = embeddedtest.Database(t)
		conn, err := pgx.Connect(ctx, dropped)
		if err != nil {
			t.Fatal(err)
		}
		// The session stays open: the drop must get past it.
		t.Cleanup(func() { _ = conn.Close(ctx) })
		if _, err := conn.Exec(ctx, "CREATE TABLE t (n int)"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("second", func(t *testing.T) {
		conn, err := pgx.Connect(ctx, embeddedtest.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		var tables int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_tables WHERE tablename = 't'").Scan(&tables); err != nil || tables != 0 {
			t.Fatalf("tables of the first test: %d, %v", tables, err)
		}
	})
	if conn, err := pgx.Connect(ctx, dropped); err == nil {
		_ = conn.Close(ctx)
		t.Fatal("the first test's database is still there")
	}
	if a, b := embeddedtest.Postgres(t), embeddedtest.Postgres(t); a != b {
		t.Fatal("two servers in one process")
	}
}
