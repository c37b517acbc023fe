package operation

import (
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// A backend that hangs must not keep the workers of another: each has its own.
func TestEachBackendHasWorkersOfItsOwn(t *testing.T) {
	e := &Engine{Options: Options{Workers: 3, Drivers: map[string]services.Driver{"pg.one": nil, "pg.two": nil}}}
	queues := e.queues()
	if len(queues) != 3 {
		t.Fatalf("%d queues, want one a backend and one for upkeep", len(queues))
	}
	for _, backend := range []string{"pg.one", "pg.two"} {
		if got := queues[queueOf(backend)].MaxWorkers; got != 3 {
			t.Errorf("%s has %d workers, want 3", backend, got)
		}
	}
}
