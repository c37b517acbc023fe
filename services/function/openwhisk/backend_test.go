package openwhisk

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func testInstance(t testing.TB, params string) instance {
	t.Helper()
	inst := instance{ID: "i", Name: services.InstanceName("i")}
	var err error
	if inst.Plan, err = services.Decode[Plan](nil); err != nil {
		t.Fatal(err)
	}
	if inst.Params, err = services.Decode[InstanceParams](json.RawMessage(params)); err != nil {
		t.Fatal(err)
	}
	return inst
}

func testBinding(t *testing.T, id string) binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	return binding{ID: id, Name: services.BindingName("i", id), Seed: seed, Params: BindingParams{Role: readWrite}}
}

// What the administration API answers becomes what the engine understands.
func TestAnswers(t *testing.T) {
	inst, bd := testInstance(t, `{}`), testBinding(t, "b")
	for _, test := range []struct {
		name   string
		status int
		body   string
		check  func(error) bool
	}{
		{"done", 204, "", func(err error) bool { return err == nil }},
		{"in progress", 202, `{"waiting": "the rules are being deleted", "retry_after_ms": 200}`, func(err error) bool {
			later, ok := errors.AsType[*services.NotYetError](err)
			return ok && later.Note == "the rules are being deleted" && later.After == 200*time.Millisecond
		}},
		{"locked", 423, `{"code": "locked", "errors": ["another change"]}`, func(err error) bool {
			later, ok := errors.AsType[*services.NotYetError](err)
			return ok && strings.HasPrefix(later.Note, "waiting for another change of the namespace") && later.After == time.Second
		}},
		{"full", 507, `{"code": "no_room", "errors": ["the disk is full"]}`, func(err error) bool {
			return services.IsOutOfCapacity(err) && strings.Contains(err.Error(), "the disk is full")
		}},
		{"ending", 409, `{"code": "ending", "errors": ["namespace: is being deleted"]}`, func(err error) bool {
			return err != nil && strings.HasSuffix(err.Error(), "the administration API answers 409: namespace: is being deleted")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := pretender(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			})
			if err := servicetest.Once(b).Deprovision(t.Context(), inst); !test.check(err) {
				t.Errorf("deprovision: %v", err)
			}
			if test.status == http.StatusAccepted {
				return // of a deletion alone
			}
			_, err := servicetest.Once(b).Bind(t.Context(), inst, bd)
			for verb, err := range map[string]error{"provision": servicetest.Once(b).Provision(t.Context(), inst), "bind": err, "unbind": servicetest.Once(b).Unbind(t.Context(), inst, bd)} {
				if !test.check(err) {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
	}
}

// Only mounts that the engine found reach the runtime. A directory that is missing there is
// not the user's fault.
func TestMounts(t *testing.T) {
	server := newServer(t)
	b, ctx := server.open(t), t.Context()
	folder := filepath.Join(reachable(t), "folder")
	inst := testInstance(t, `{"mounts": [{"instance": "fs", "path": "/photos", "read_only": true}]}`)
	if diff := cmp.Diff([]string{"fs"}, b.MountedInstances(inst.Params)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if message, rejected := services.IsRejected(servicetest.Once(b).Provision(ctx, inst)); !rejected || !strings.HasPrefix(message, "mounts[0].instance: ") {
		t.Errorf("a missing file system: %q", message)
	}
	inst.Directories = map[string]string{"fs": folder}
	err := servicetest.Once(b).Provision(ctx, inst)
	if _, rejected := services.IsRejected(err); err == nil || rejected || !strings.Contains(err.Error(), "mounts[0].folder: ") {
		t.Errorf("a missing folder: %v", err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	var stored struct{ Mounts []mount }
	if err := b.api.call(ctx, http.MethodGet, namespacePath(inst), nil, &stored); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]mount{{Mount{"fs", "/photos", true}, folder}}, stored.Mounts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
