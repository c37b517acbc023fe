package s3

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

const faultySecret = objecttest.FaultySecret

func faultyConfig(endpoint string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"endpoint": %q, "access_key_id": "admin", "secret_access_key": %q}`, endpoint, faultySecret))
}

func openFaulty(t *testing.T, endpoint string) objecttest.Backend {
	return sharedBackend{openBackend(t, faultyConfig(endpoint))}
}

func TestNonsense(t *testing.T) {
	objecttest.Nonsense(t, openFaulty, "provision") // which asks for nothing but a success
}

func TestHangs(t *testing.T) { objecttest.Hangs(t, openFaulty) }

// The real gateway refuses an unknown account and one that may not administer it.
func TestWrongRights(t *testing.T) {
	server := newServer(t)
	right := server.backend(t, "c")
	if err := right.gateway.putAccount(objecttest.Context(t), "mere-user", services.NewSecret(faultySecret)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]map[string]any{
		"an unknown account": {"access_key_id": "nobody"},
		"a wrong secret":     {"secret_access_key": faultySecret},
		"no administrator":   {"access_key_id": "mere-user", "secret_access_key": faultySecret},
		"another region":     {"region": "eu-central-1"},
	} {
		t.Run(name, func(t *testing.T) {
			var config map[string]any
			if err := json.Unmarshal(server.config("c", server.address()), &config); err != nil {
				t.Fatal(err)
			}
			for key, value := range change {
				config[key] = value
			}
			raw, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			for verb, call := range objecttest.Verbs(t, sharedBackend{openBackend(t, raw)}) {
				err := call(objecttest.Context(t))
				objecttest.CheckFault(t, verb, err, faultySecret)
				if strings.Contains(err.Error(), server.SecretAccessKey()) {
					t.Errorf("%s: the error holds the secret", verb)
				}
				if name != "another region" { // which has a refusal of its own
					objecttest.Expect(t, err, "check that access_key_id and secret_access_key are an account with the role admin")
				}
			}
		})
	}
}

// The gateway ends between two verbs and comes back: nothing is lost, and
// connections that died meanwhile are no failed calls.
func TestGatewayRestarts(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	bd := newBinding(t, inst, "b", access.ReadWrite)
	first := bound(t, b, inst, bd)
	objecttest.Dial(t, first.Values).MustPut(t, "key", "value")
	server.Kill()
	for verb, call := range objecttest.Verbs(t, sharedBackend{b}) {
		objecttest.CheckFault(t, verb, call(ctx), faultySecret)
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if value, err := objecttest.Dial(t, first.Values).Read(ctx, "key"); value != "value" || err != nil {
		t.Errorf("after the restart: %q, %v", value, err)
	}
	again := bound(t, b, inst, bd)
	if again.Values["uri"] != first.Values["uri"] {
		t.Error("other credentials after the restart")
	}
	for _, verb := range []string{"unbind", "deprovision"} {
		if err := objecttest.Verbs(t, sharedBackend{b})[verb](ctx); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// An account with the role admin will do, and another one can take its place.
func TestAdministrators(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	root := server.backend(t, "c")
	var replicas []*backend
	for _, name := range []string{"one", "two"} {
		account := struct {
			XMLName              xml.Name `xml:"Account"`
			Access, Secret, Role string
		}{Access: name, Secret: faultySecret, Role: "admin"}
		if err := root.gateway.command(ctx, "create-user", nil, account, nil); err != nil {
			t.Fatal(err)
		}
		replicas = append(replicas, openBackend(t, json.RawMessage(fmt.Sprintf(
			`{"endpoint": %q, "access_key_id": %q, "secret_access_key": %q}`, server.Endpoint(), name, faultySecret))))
	}
	inst := provisioned(t, replicas[0], "i", func(i *instance) { i.Plan.DeleteContents = true })
	first := bound(t, replicas[0], inst, newBinding(t, inst, "b", access.ReadWrite))
	if err := root.gateway.deleteAccount(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Once(replicas[1]).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bound(t, replicas[1], inst, newBinding(t, inst, "another", access.ReadOnly))
	objecttest.Dial(t, first.Values).MustPut(t, "key", "value")
	if err := servicetest.Once(replicas[1]).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if left, err := server.leftOf(ctx, inst.Name, nil); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A call that changes something is seen to its end, whoever gave it up: what
// follows must not be overtaken by it.
func TestChangesAreSeenToTheirEnd(t *testing.T) {
	for name, c := range map[string]struct {
		call  func(context.Context, *client) error
		ended bool
	}{
		"a change": {func(ctx context.Context, g *client) error { return g.createBucket(ctx, "bucket") }, true},
		"a question": {func(ctx context.Context, g *client) error {
			_, err := g.Policy(ctx, "bucket")
			return err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				giveUp()
				if c.ended {
					select { // a moment for who would hang up
					case <-r.Context().Done():
					case <-time.After(100 * time.Millisecond):
					}
				} else {
					<-r.Context().Done()
				}
				w.Header().Set("X-Amz-Request-Id", "1")
			}))
			defer server.Close()
			err := c.call(ctx, openBackend(t, faultyConfig(server.URL)).gateway)
			if c.ended && err != nil || !c.ended && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}
