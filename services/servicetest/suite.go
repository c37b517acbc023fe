// Package servicetest is the suite that every backend passes, against its real
// server. What it checks is what services.Backend promises.
package servicetest

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// Suite tells the suite about one backend.
type Suite struct {
	// Definition is the backend.
	Definition services.Definition
	// Address is the host:port of the server that the backend administers.
	Address string
	// Config is the backend's configuration for reaching its server at
	// address, which is Address or a proxy in front of it. Whatever it is,
	// applications are told Address.
	Config func(address string) json.RawMessage
	// Secrets are those of the configuration. No error may hold one.
	Secrets []string

	// Plan is what instances are made with, OtherPlan what they are updated
	// to and back.
	Plan, OtherPlan json.RawMessage
	// Create, Update and Bind are valid parameters, of which there is one at
	// least: use {} where nothing has to be said.
	Create, Update, Bind []json.RawMessage
	// BindSame are further parameters of a binding that say what the first of Bind
	// makes anyway: they have to be taken, and are not tried any further.
	BindSame []json.RawMessage
	// Invalid are parameters that must be refused.
	Invalid Invalid
	// ReadOnly are a binding's parameters for reading only; nil where the
	// backend knows no such thing.
	ReadOnly json.RawMessage

	// Reach tries, as an application with the first credentials, to get at
	// what the second belong to, in every way it can think of, and fails t for
	// each that is not refused.
	Reach func(t *testing.T, mine, theirs map[string]any)
	// Block are the ways, each under the name of its test, in which an application
	// with the first credentials could keep the broker from revoking the others or
	// from removing the instance that those belong to. What a function opens, such
	// as a transaction, stays open until t ends or the broker ends it.
	Block map[string]func(t *testing.T, mine map[string]any, theirs ...map[string]any)
	// Limits are the plan's limits; each is shown to hold.
	Limits []Limit
	// Break are the ways, each under the name of its test, in which an
	// application can break its own credentials, such as by changing its
	// password. Afterwards it cannot connect or cannot write. Nil where a holder
	// cannot break them; else the backend is a Verifier.
	Break map[string]func(ctx context.Context, credentials map[string]any) error
	// Left lists what is still on the server of an instance and its bindings,
	// asked of the server itself and not of the backend. Names are
	// Instance.Name and Binding.Name.
	Left func(ctx context.Context, instance string, bindings []string) ([]string, error)

	// Local is for a backend that administers by programs on this machine: there
	// is no call to cut off in between, and its own tests interrupt the programs.
	Local bool
	// Again leaves out what takes long and would come out the same: for a
	// further run, on a server that differs in what it can limit only.
	Again bool
}

// Invalid are parameters that must be refused by a schema or by the check that
// comes before an operation is accepted, each under the name of its test.
type Invalid struct{ Create, Update, Bind map[string]json.RawMessage }

// Limit is a limit of a plan.
type Limit struct {
	Name string
	Plan json.RawMessage
	// Holds goes up to the limit and fails t where it does not hold.
	Holds func(t *testing.T, use Use)
}

// Use is an instance in the hands of a Limit.
type Use struct {
	// Bind makes a binding with these parameters and returns what its
	// application reads.
	Bind func(t *testing.T, params json.RawMessage) map[string]any
	// Reconcile looks after the instance as the engine does and returns what its
	// user should know.
	Reconcile func(t *testing.T) string
}

// Run runs the suite. Its subtests are named for what they show.
func Run(t *testing.T, s Suite) {
	t.Helper()
	s.complete(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *harness)
	}{
		{"schemas", testSchemas},
		{"parameters", testParameters},
		{"authority", testAuthority},
		{"repeated parameters", testRepeated},
		{"lifecycle", testLifecycle},
		{"update", testUpdate},
		{"absent", testAbsent},
		{"two bindings", testTwoBindings},
		{"read only", testReadOnly},
		{"bindings side by side", testConcurrentBindings},
		{"broken credentials", testBroken},
		{"isolation", testIsolation},
		{"blocking", testBlocking},
		{"limits", testLimits},
		{"hostile identifiers", testHostileIDs},
		{"hostile parameters", testHostileParameters},
		{"secrets", testSecrets},
		{"room", testRoom},
		{"keep", testKeep},
		{"server away", testServerAway},
		{"cancelled", testCancelled},
		{"crash", testCrash},
	} {
		t.Run(test.name, func(t *testing.T) {
			switch test.name {
			case "hostile identifiers", "hostile parameters", "cancelled", "crash":
				if s.Again {
					t.Skip("the first run showed it")
				}
			}
			if s.Local && (test.name == "cancelled" || test.name == "crash") {
				t.Skip("the backend's own tests interrupt the programs that it runs")
			}
			test.run(t, newHarness(t, s, s.Address))
		})
	}
}

// complete fails t where the suite was not told enough to test the backend.
func (s *Suite) complete(t *testing.T) {
	t.Helper()
	for what, missing := range map[string]bool{
		"Address": s.Address == "", "Config": s.Config == nil,
		"Create": len(s.Create) == 0, "Bind": len(s.Bind) == 0,
		"Reach": s.Reach == nil, "Left": s.Left == nil,
		"Definition.Dial": s.Definition.Dial == nil, "Definition.CredentialType": s.Definition.CredentialType == "",
	} {
		if missing {
			t.Fatalf("the suite needs %s", what)
		}
	}
}
