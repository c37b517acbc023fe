package server

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/admin/admintest"
	"github.com/chandler-broker/chandler/functions/state"
)

// While the database is down, requests that need it are answered 503. Afterwards everything
// continues by itself.
func TestDatabaseComesAndGoes(t *testing.T) {
	embeddedtest.Postgres(t) // skips if PostgreSQL is not installed
	database, err := embedded.StartPostgres(t.Context(), embedded.Options{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := database.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	server := &testServer{database: database.URL("postgres"), key: state.GenerateKey()}
	server.start(t)
	limits := admintest.Limits()
	limits.InvocationsPerMinute = 1 << 30
	a := server.bound(t, server.operator(t), space, limits)
	a.expect(t, 200, "PUT", a.own("/actions/hello"), javascript(hello))
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				path := fmt.Sprintf("/actions/a%d-%d", i, n%20)
				if status, answer := a.do(t, "PUT", a.own(path+"?overwrite=true"), javascript(hello)); status != 200 && status != 503 {
					t.Errorf("deploy: %d %v", status, answer)
				}
				if status, answer := a.do(t, "POST", a.own("/actions/hello?blocking=true"), object{}); status != 200 && status != 503 {
					t.Errorf("call: %d %v", status, answer)
				}
			}
		})
	}
	for i := range 5 {
		time.Sleep(200 * time.Millisecond) // for so long all is well
		if i%2 == 0 {
			database.Kill()
		}
		if err := database.Restart(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(done)
	all.Wait()
	eventually(t, "everything works again", func() bool {
		status, _ := a.do(t, "POST", a.own("/actions/hello?blocking=true"), object{})
		return status == 200
	})
	a.expect(t, 200, "PUT", a.own("/actions/hello?overwrite=true"), javascript(hello))
}
