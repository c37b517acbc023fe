package operation

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/chandler-broker/chandler/services"
)

// A server that hangs must not keep the workers of another: each has its own,
// under a name that the job queue takes.
func TestEachServerHasWorkersOfItsOwn(t *testing.T) {
	servers := []string{"pg.one", "pg.two", "pg", "pg/two", "pg/t.wo", "p.-_.g", "pg-", strings.Repeat("long", 15) + "/" + strings.Repeat("long", 15)}
	drivers := map[string]*services.Driver{}
	for _, s := range servers {
		drivers[s] = nil
	}
	queues := (&Engine{Options: Options{Workers: 3, Drivers: drivers}}).queues()
	if len(queues) != 1+len(servers) {
		t.Fatalf("%d queues, want one a server and one for upkeep", len(queues))
	}
	for _, server := range servers {
		if got := queues[queueOf(server)].MaxWorkers; got != 3 {
			t.Errorf("%s has %d workers, want 3", server, got)
		}
	}
	pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/nobody") // is not connected to
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	config := &river.Config{Queues: queues, Workers: river.NewWorkers()}
	river.AddWorker(config.Workers, river.WorkFunc((&Engine{}).work))
	if _, err := river.NewClient(riverpgxv5.New(pool), config); err != nil {
		t.Error(err)
	}
	if got := queueOf("pg.one"); got != "backend_pg_one" {
		t.Errorf("%s: jobs of releases before this one would wait for ever", got)
	}
}
