package servicetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// flawNone is no flaw, of the backend whose server holds the backups.
const flawNone = "none"

// heldFlaws are those of the backend whose server holds the backups.
func heldFlaws() []string {
	return []string{flawNone, flawHeldTwice, flawHeldEmpty, flawHeldAccounts, flawHeldUnknown, flawHeldOrphan, flawHeldLost, flawHeldHalf}
}

// The flaws of a backend that the suite must detect.
const (
	flawSchema       = "its schema has a key that its parameters lack"
	flawLeftovers    = "deprovision leaves the bindings"
	flawRandom       = "a repeated bind makes another password"
	flawSession      = "a live session outlives its binding"
	flawAgain        = "a repeated provision fails"
	flawHalf         = "a repeated provision does not finish the first"
	flawOrder        = "a repeated unbind does not finish the first"
	flawLeak         = "errors contain the administrator's token"
	flawBlame        = "a lost server is reported as the user's error"
	flawNames        = "different identifiers give the same name"
	flawWrites       = "a read-only binding writes"
	flawLimit        = "the plan's limit does not hold"
	flawAbsent       = "an unbind of an absent binding fails"
	flawList         = "list returns nothing"
	flawResource     = "ResourceName and list name different resources"
	flawVerify       = "verify repairs nothing"
	flawRevive       = "verify creates a deleted binding"
	flawCuts         = "verify cuts the sessions of credentials that work"
	flawUpdateSchema = "its schema for updates lacks a parameter"
	flawRepeated     = "an update refuses the parameters of the creation"
	flawBlocked      = "a tenant blocks another's unbind"
	flawIncomplete   = "a copy lacks a key"
	flawCredentials  = "a copy contains the accounts"
	flawTruncated    = "half of a copy is restored"
	flawForeign      = "a copy of a foreign format is restored"
	flawStale        = "an incremental copy takes from its base what has changed"
	flawGap          = "an incremental copy is restored without its base"
	flawStays        = "an interrupted backup leaves something on the server"
	flawHeldTwice    = "a repeated creation makes another backup"
	flawHeldEmpty    = "a backup that the server holds lacks a key"
	flawHeldAccounts = "the credentials in a backup work in the restored instance"
	flawHeldUnknown  = "a backup that does not exist is restored"
	flawHeldOrphan   = "a deleted backup leaves what deprovision left for it"
	flawHeldLost     = "deprovision deletes the backups"
	flawHeldHalf     = "a repeated restore does not finish the first"
)

const (
	// flawVariable names the flaw of the backend in the process of TestSuiteWithFlaw.
	flawVariable = "CHANDLER_TEST_FLAW"
	// slowVariable makes it the short form of the suite for slow backends.
	slowVariable = "CHANDLER_TEST_SLOW"
)

func TestSuite(t *testing.T) { runSuite(t, "", false) }

func TestShortSuite(t *testing.T) { runSuite(t, "", true) }

// TestHolderSuite is about the same server, which holds its backups.
func TestHolderSuite(t *testing.T) { runSuite(t, flawNone, false) }

func TestShortHolderSuite(t *testing.T) { runSuite(t, flawNone, true) }

// TestSuiteNotices runs TestSuiteWithFlaw in a separate process.
func TestSuiteWithFlaw(t *testing.T) {
	flaw := os.Getenv(flawVariable)
	if flaw == "" {
		t.Skip("TestSuiteNotices runs it")
	}
	runSuite(t, flaw, os.Getenv(slowVariable) != "")
}

func TestSuiteNotices(t *testing.T) {
	for flaw, where := range map[string]string{
		flawSchema:       "schemas/instance_create",
		flawLeftovers:    "lifecycle",
		flawRandom:       "lifecycle",
		flawSession:      "two_bindings",
		flawAgain:        "lifecycle",
		flawHalf:         "crash/provision_0",
		flawOrder:        "crash/unbind_0",
		flawLeak:         "server_away",
		flawBlame:        "server_away",
		flawNames:        "hostile_identifiers",
		flawWrites:       "read_only",
		flawLimit:        "limits/sessions",
		flawAbsent:       "absent",
		flawList:         "lifecycle",
		flawResource:     "lifecycle",
		flawVerify:       "broken_credentials/its_own_password",
		flawRevive:       "broken_credentials/a_binding_that_does_not_exist",
		flawCuts:         "broken_credentials/its_own_password",
		flawUpdateSchema: "schemas/instance_update",
		flawRepeated:     "repeated_parameters/create_0_with_the_other_plan",
		flawBlocked:      "blocking/a_key_of_that_name",
		flawIncomplete:   "backups/round_trip",
		flawCredentials:  "backups/round_trip",
		flawTruncated:    "backups/damaged",
		flawForeign:      "backups/damaged",
		flawStale:        "backups/incremental",
		flawGap:          "backups/incremental",
		flawStays:        "backups/backup_interrupted",
		flawHeldTwice:    "held_backups/round_trip",
		flawHeldEmpty:    "held_backups/round_trip",
		flawHeldAccounts: "held_backups/round_trip",
		flawHeldUnknown:  "held_backups/unknown",
		flawHeldOrphan:   "held_backups/outlives_its_instance",
		flawHeldLost:     "held_backups/outlives_its_instance",
		flawHeldHalf:     "crash/provision_from_backup",
	} {
		for form, slow := range map[string]string{"full form": "", "short form": "1"} {
			t.Run(flaw+", "+form, func(t *testing.T) {
				t.Parallel()
				notices(t, where, flawVariable+"="+flaw, slowVariable+"="+slow)
			})
		}
	}
}

// notices fails t unless the suite fails at this place.
func notices(t *testing.T, where string, variables ...string) {
	suite, _, _ := strings.Cut(where, "/")
	command := exec.Command(os.Args[0], "-test.run", "^TestSuiteWithFlaw$/^"+suite+"$", "-test.v")
	command.Env = append(os.Environ(), variables...)
	output, err := command.CombinedOutput()
	if err == nil {
		t.Fatalf("the suite passed:\n%s", output)
	}
	if want := "--- FAIL: TestSuiteWithFlaw/" + where; !strings.Contains(string(output), want) {
		t.Errorf("no %q in:\n%s", want, output)
	}
}

func runSuite(t *testing.T, flaw string, slow bool) {
	server := startMemoryServer(t)
	address := server.listener.Addr().String()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	config := func(reached string) json.RawMessage {
		return raw(`{"address": "` + reached + `", "applications": "` + address + `", "token": "` + adminToken + `"}`)
	}
	servicetest.Run(t, servicetest.Suite{
		Definition: definition(flaw),
		Address:    address,
		Config:     config,
		Slow:       slow,
		Apart:      func(reached, _ string) json.RawMessage { return config(reached) },
		Secrets:    []string{adminToken},
		Plan:       raw(`{"sessions": 50}`),
		OtherPlan:  raw(`{"sessions": 100}`),
		Create:     []json.RawMessage{raw(`{"colour": "blue", "shape": "round"}`)},
		Update:     []json.RawMessage{raw(`{"colour": "red"}`)},
		Bind:       []json.RawMessage{raw(`{}`)},
		ReadOnly:   raw(`{"role": "read_only"}`),
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{"a long colour": raw(`{"colour": "` + strings.Repeat("x", 21) + `"}`)},
			Update: map[string]json.RawMessage{"another shape": raw(`{"shape": "square"}`)},
			Bind:   map[string]json.RawMessage{"an unknown role": raw(`{"role": "admin"}`)},
		},
		Reach: reachMemory,
		Limits: []servicetest.Limit{{
			Name: "sessions", Plan: raw(`{"sessions": 2}`), Holds: func(t *testing.T, use servicetest.Use) {
				credentials := use.Bind(t, raw(`{}`))
				in := 0
				for range 4 {
					if s, err := dialMemory(t.Context(), credentials); err == nil {
						in++
						defer s.Close()
					}
				}
				if in != 2 {
					t.Errorf("%d sessions were accepted", in)
				}
			},
		}},
		Break:  map[string]func(context.Context, map[string]any) error{"its own password": changePassword},
		Fill:   fillMemory,
		Change: changeMemory,
		Block:  map[string]func(*testing.T, map[string]any, ...map[string]any){"a key of that name": blockMemory},
		Left: func(_ context.Context, instance string, bindings []string) ([]string, error) {
			return server.holding(append(bindings, instance)), nil
		},
	})
}

func changePassword(ctx context.Context, credentials map[string]any) error {
	s, err := dialMemory(ctx, credentials)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.(*memorySession).do(ctx, request{Op: "password", Password: "its own"})
	return err
}

// blockMemory writes a key that begins like the other tenant's user.
func blockMemory(t *testing.T, mine map[string]any, theirs ...map[string]any) {
	s, err := dialMemory(t.Context(), mine)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Write(t.Context(), theirs[0]["username"].(string)[:memoryKey], "is mine"); err != nil {
		t.Fatal(err)
	}
}

func reachMemory(t *testing.T, mine, theirs map[string]any) {
	for _, key := range []string{"instance", "username"} {
		mixed := map[string]any{}
		for k, v := range mine {
			mixed[k] = v
		}
		mixed[key] = theirs[key]
		if s, err := dialMemory(t.Context(), mixed); err == nil {
			t.Errorf("logged in with the other tenant's %s", key)
			_ = s.Close()
		}
	}
}

// fillMemory writes many keys.
func fillMemory(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
	values := map[string]string{}
	for i := range 20 {
		values[fmt.Sprint("number ", i)] = strings.Repeat(fmt.Sprint(i), 200)
	}
	return writeMemory(t, mine, values, values)
}

// changeMemory overwrites a key, and writes another one.
func changeMemory(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
	values := map[string]string{"number 3": "changed", "number 20": "added"}
	return writeMemory(t, mine, values, map[string]string{"number 3": "changed", "number 20": "added", "number 4": strings.Repeat("4", 200)})
}

// writeMemory writes values, and returns a function that expects others.
func writeMemory(t *testing.T, mine map[string]any, values, expected map[string]string) func(*testing.T, map[string]any) {
	open := func(t *testing.T, credentials map[string]any) services.Session {
		s, err := dialMemory(t.Context(), credentials)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open(t, mine)
	for key, value := range values {
		if err := s.Write(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	return func(t *testing.T, theirs map[string]any) {
		s := open(t, theirs)
		for key, want := range expected {
			if got, err := s.Read(t.Context(), key); err != nil || got != want {
				t.Errorf("%s: %q, %v", key, got, err)
			}
		}
	}
}
