package bench_test

import (
	"context"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/credhub/vault"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// trips counts round trips to the state and to Vault. Statements that are sent together
// are one.
type trips struct{ state, vault int }

// mostTrips is what each verb may cost, from its request to the last statement that it
// causes, the job queue's own included. A change that needs fewer lowers the figure.
var mostTrips = map[string]trips{
	"provision":   {4, 0},
	"bind":        {4, 2},
	"unbind":      {4, 2},
	"deprovision": {4, 0},
}

// tripTries is how often each verb is counted at most. The least counts: the broker's
// work in the background, and a busy machine that separates what is sent together, only add.
const tripTries = 100

// TestRoundTrips fails if a verb makes more round trips to the state or to a real Vault
// than it used to.
func TestRoundTrips(t *testing.T) {
	server, err := embedded.StartPostgres(t.Context(), embedded.Options{Dir: t.TempDir(), NoSync: true})
	check(t, err)
	t.Cleanup(func() { _ = server.Stop(context.Background()) }) // t's context has ended
	database, err := url.Parse(newDatabase(t, server, "counted"))
	check(t, err)
	state := servicetest.NewProxy(t, database.Host)
	database.Host = state.Address()
	store, secrets := countedVault(t)
	broker := newNoop(t, brokertest.Options{DatabaseURL: database.String(), Store: store})

	least := map[string]trips{}
	above := func(verb string) bool {
		now, counted := least[verb]
		return !counted || now.state > mostTrips[verb].state || now.vault > mostTrips[verb].vault
	}
	for try := 0; try < tripTries && slices.ContainsFunc(verbs, above); try++ {
		for _, step := range lifecycle(broker.client, brokertest.Service, brokertest.Small) {
			awaitQuiet(state)
			state.Arm(0, servicetest.Before) // counts, and cuts nowhere
			secrets.Arm(0, servicetest.Before)
			check(t, step.do(t.Context()))
			awaitQuiet(state)
			now := trips{state.Calls(), secrets.Calls()}
			if known, ok := least[step.verb]; ok {
				now = trips{min(now.state, known.state), min(now.vault, known.vault)}
			}
			least[step.verb] = now
		}
	}
	for _, verb := range verbs {
		now, most := least[verb], mostTrips[verb]
		t.Logf("%s: %d round trips to the state, %d to Vault", verb, now.state, now.vault)
		if above(verb) {
			t.Errorf("%s: %d round trips to the state and %d to Vault, not %d and %d", verb, now.state, now.vault, most.state, most.vault)
		}
	}
}

func countedVault(t *testing.T) (*vault.Store, *servicetest.Proxy) {
	server := embeddedtest.Vault(t, nil)
	address, err := url.Parse(server.Addr())
	check(t, err)
	proxy := servicetest.NewProxy(t, address.Host)
	address.Host = proxy.Address()
	store, err := vault.Open(t.Context(), vault.Config{Address: address.String(), Token: services.NewSecret(server.RootToken())})
	check(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store, proxy
}

// awaitQuiet waits for what follows an answer, such as the job's own end.
func awaitQuiet(p *servicetest.Proxy) {
	for before := -1; before != p.Calls(); {
		before = p.Calls()
		time.Sleep(30 * time.Millisecond)
	}
}
