// Package servicetest is the conformance suite that every backend passes, against its
// real server. It checks the contract of services.Backend.
package servicetest

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// Suite describes one backend to the suite.
type Suite struct {
	// Definition is the backend.
	Definition services.Definition
	// Address is the host:port of the server that the backend administers.
	Address string
	// Config returns the backend's configuration for reaching its server at address,
	// which is Address or a proxy in front of it. Applications get Address in both cases.
	Config func(address string) json.RawMessage
	// Secrets are the configuration's secrets. No error may contain one.
	Secrets []string

	// Plan is the plan of new instances; updates change it to OtherPlan and back.
	Plan, OtherPlan json.RawMessage
	// Create, Update and Bind are valid parameters. Each needs at least one
	// element; use {} for none.
	Create, Update, Bind []json.RawMessage
	// BindSame are further parameters of a binding with the same effect as the first
	// of Bind. The suite only checks that they are accepted.
	BindSame []json.RawMessage
	// Invalid are parameters that must be refused.
	Invalid Invalid
	// ReadOnly are the parameters of a read-only binding; nil if the backend has none.
	ReadOnly json.RawMessage

	// Reach uses the first credentials to try to access the instance of the second,
	// in every possible way, and fails t for each way that is not refused.
	Reach func(t *testing.T, mine, theirs map[string]any)
	// Block are functions, by test name, that use the first credentials to try to
	// prevent the broker from revoking the others, or from deleting their instance.
	// What a function opens, such as a transaction, must stay open until t ends or
	// the broker ends it.
	Block map[string]func(t *testing.T, mine map[string]any, theirs ...map[string]any)
	// Limits are the plan's limits.
	Limits []Limit
	// Break are functions, by test name, that break the application's own credentials,
	// such as by changing its password. Afterwards it cannot connect or cannot write. Nil
	// if a holder cannot break them; otherwise the backend must implement Verifier.
	Break map[string]func(ctx context.Context, credentials map[string]any) error
	// Fill uses the credentials to put everything into an instance that a copy has to
	// contain, and returns a function that fails t unless the credentials of another
	// instance find the same there. Nil if the backend is neither a Streamer nor a BackupHolder.
	Fill func(t *testing.T, mine map[string]any) (same func(t *testing.T, theirs map[string]any))
	// Change uses the credentials to change what Fill made: some of it is added, overwritten,
	// renamed and deleted. It returns what Fill returns. Nil if the backend is no Incrementer.
	Change func(t *testing.T, mine map[string]any) (same func(t *testing.T, theirs map[string]any))
	// NoDataCopied says that copies lack what a session writes. Fill then makes what they have.
	NoDataCopied bool
	// Left lists what remains of an instance and its bindings on the server. It
	// must ask the server itself and not the backend. The names are Instance.Name
	// and Binding.Name.
	Left func(ctx context.Context, instance string, bindings []string) ([]string, error)

	// ServerSecrets says that the server chooses the secrets of bindings, and that the backend
	// reads them again when a bind is repeated: they do not derive from the seed.
	ServerSecrets bool
	// Local is for a backend that runs programs on this machine instead of making
	// calls that the suite can cut; its own tests interrupt the programs.
	Local bool
	// Slow is for a backend whose instances take seconds to make: the tests run side by side
	// (see flag -parallel), with the first of Create, and one moment at which verbs are cancelled.
	// Unless Full, they take the short form: fewer hostile IDs and values, no read-only binding to
	// interrupt, after a cut either the repetition or the undo, one instance for all cuts of a verb that
	// neither makes nor deletes it, and a moment soon after the beginning.
	Slow bool
	// Apart is Config for one of the tests that run side by side, with a name of its own of at most
	// three characters: List shows the backend only what was made under the same name. Nil if List
	// asks the server once, whatever others have.
	Apart func(address, name string) json.RawMessage
	// Counts selects the calls at which the crash tests cut, by what the backend sends first of
	// each; nil: all calls. A backend that polls leaves out calls that change nothing, because a
	// crash before one leaves the same state as a crash after the call before it.
	Counts func(call []byte) bool
	// Again skips slow tests with the same result. Use it for a further run on a
	// server that differs only in the limits that it can enforce.
	Again bool
}

// Invalid are parameters, by test name, that a schema or the backend's check must refuse
// before an operation is accepted.
type Invalid struct{ Create, Update, Bind map[string]json.RawMessage }

// Limit is a limit of a plan.
type Limit struct {
	Name string
	Plan json.RawMessage
	// Holds uses the instance up to the limit, and fails t if the limit does not hold.
	Holds func(t *testing.T, use Use)
}

// Use is the instance that a Limit tests.
type Use struct {
	// Bind creates a binding with these parameters and returns its credentials.
	Bind func(t *testing.T, params json.RawMessage) map[string]any
	// Reconcile reconciles the instance like the engine and returns its condition.
	Reconcile func(t *testing.T) string
}

// fullVariable is the environment variable that asks for the full form of slow suites.
const fullVariable = "CHANDLER_TEST_FULL"

// Full reports whether tests that take minutes are to try everything ("make test-cloud").
func Full() bool { return os.Getenv(fullVariable) == "1" }

func (s *Suite) short() bool { return s.Slow && !Full() }

// Run runs the suite.
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
		{"capacity", testCapacity},
		{"reconcile", testReconcile},
		{"backups", testBackups},
		{"held backups", testHeldBackups},
		{"server away", testServerAway},
		{"cancelled", testCancelled},
		{"crash", testCrash},
	} {
		t.Run(test.name, func(t *testing.T) {
			switch test.name {
			case "hostile identifiers", "hostile parameters", "backups", "held backups", "cancelled", "crash":
				if s.Again {
					t.Skip("the first run covers this")
				}
			}
			if s.Slow {
				t.Parallel()
			}
			if s.Local && (test.name == "cancelled" || test.name == "crash") {
				t.Skip("the backend's own tests interrupt the programs that it runs")
			}
			test.run(t, newHarness(t, s, s.Address).apart(t))
		})
	}
}

// complete fails t if a required field of the suite is missing.
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
