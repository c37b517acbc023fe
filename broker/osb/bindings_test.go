package osb_test

import (
	"encoding/json"
	"errors"
	"testing"
)

// credentials is what the tests' backend hands out.
const credentials = `"credentials":{"type":"memory","host":"127.0.0.1","username":"*","password":"*"}`

// endpoints are told on plans that say so; plan-small does.
const endpoints = `"endpoints":[{"host":"127.0.0.1","ports":["5432"],"protocol":"tcp"}]`

const (
	made      = `{` + credentials + `,` + endpoints + `}`
	bindLarge = `{"service_id":"service-id","plan_id":"plan-large"}`
	bindSlow  = `{"service_id":"service-id","plan_id":"plan-slow"}`
	bindApp   = `{"service_id":"service-id","plan_id":"plan-app"}`
)

// PUT /v2/service_instances/:instance_id/service_bindings/:binding_id
func TestBind(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.run(t, []row{
		// Created.
		{name: "a service key", given: []step{provisioned()}, send: "PUT " + binding, body: bind, status: 201, answer: made, says: []string{"Cache-Control: no-store"}},
		{name: "for an application", given: []step{provisioned()}, send: "PUT " + binding, body: with(bind, `"bind_resource":{"app_guid":"app"}`), status: 201, answer: made},
		{name: "with parameters", given: []step{provisioned()}, send: "PUT " + binding, body: with(bind, `"parameters":{"role":"read_only"}`), status: 201, answer: made},
		{name: "quick where asynchronous is allowed", given: []step{provisioned()}, send: "PUT " + binding + async, body: bind, status: 201, answer: made, says: []string{"Retry-After: "}},
		{
			name: "plan that tells no endpoints", given: []step{sent("PUT "+instance, `{"service_id":"service-id","plan_id":"plan-large","organization_guid":"o","space_guid":"s"}`, 201)},
			send: "PUT " + binding, body: bindLarge, status: 201, answer: `{` + credentials + `}`,
		},
		{
			name: "nulls and empty strings are absent", given: []step{provisioned()}, send: "PUT " + binding,
			body:   with(bind, `"parameters":null,"context":null,"app_guid":"","bind_resource":{"app_guid":"","route":null},"predecessor_binding_id":null`),
			status: 201, answer: made,
		},
		{name: "context of Kubernetes", given: []step{provisioned()}, send: "PUT " + binding, body: with(bind, `"context":{"platform":"kubernetes","namespace":"n","clusterid":"c"}`), status: 201, answer: made},
		{name: "all of bind_resource", given: []step{provisioned()}, send: "PUT " + binding, body: with(bind, `"bind_resource":{"app_guid":"a","space_guid":"s","app_annotations":{"x":"y"},"credential_client_id":"c","backup_agent":true}`), status: 201, answer: made},
		{name: "application on a plan that needs one", given: []step{sent("PUT "+instance, appOnly, 201)}, send: "PUT " + binding, body: with(bindApp, `"bind_resource":{"app_guid":"a"}`), status: 201, answer: `{` + credentials + `}`},
		{name: "application in the deprecated place", given: []step{sent("PUT "+instance, appOnly, 201)}, send: "PUT " + binding, body: with(bindApp, `"app_guid":"a"`), status: 201, answer: `{` + credentials + `}`},
		{
			name: "credentials that are delivered elsewhere", given: []step{sent("PUT "+instance, `{"service_id":"service-id","plan_id":"plan-delivered","organization_guid":"o","space_guid":"s"}`, 201)},
			send: "PUT " + binding, body: with(`{"service_id":"service-id","plan_id":"plan-delivered"}`, `"bind_resource":{"app_guid":"a"}`),
			status: 201, answer: `{"metadata":{"attributes":{"reader":"a"}},"credentials":{"credhub-ref":"*"}}`,
		},

		// The same again.
		{name: "the same again", given: []step{provisioned(), bound()}, send: "PUT " + binding, body: bind, status: 200, answer: made},
		{
			name: "the same application from the other place", given: []step{provisioned(), sent("PUT "+binding, with(bind, `"app_guid":"a"`), 201)},
			send: "PUT " + binding, body: with(bind, `"bind_resource":{"app_guid":"a"}`), status: 200, answer: made,
		},
		{
			name: "the same again until it is done", given: []step{provisioned(), taking("bind", "$b"), sent("PUT "+binding+async, bind, 202), then("bind", "$b"), ended(binding)},
			send: "PUT " + binding + async, body: bind, status: 200, answer: made,
		},

		// Accepted: no credentials yet.
		{
			name: "work that takes long", given: []step{provisioned(), taking("bind", "$b")}, send: "PUT " + binding + async, body: bind,
			status: 202, answer: `{"operation":"*"}`, says: []string{"Retry-After: 5"},
		},
		{
			name: "the same again while in progress", given: []step{provisioned(), taking("bind", "$b"), sent("PUT "+binding+async, bind, 202)},
			send: "PUT " + binding + async, body: bind, status: 202, answer: `{"operation":"*"}`,
		},
		{
			name: "beside another bind in progress", given: []step{provisioned(), taking("bind", "$b"), sent("PUT "+binding+async, bind, 202)},
			send: "PUT " + instance + "/service_bindings/beside-$b", body: bind, status: 201, answer: made,
		},

		// Malformed.
		{name: "service_id missing", given: []step{provisioned()}, send: "PUT " + binding, body: `{"plan_id":"plan-small"}`, status: 400, answer: `{"description":"service_id: is required"}`},
		{name: "plan_id missing", given: []step{provisioned()}, send: "PUT " + binding, body: `{"service_id":"service-id"}`, status: 400, answer: `{"description":"plan_id: is required"}`},
		{name: "app_guid a number", given: []step{provisioned()}, send: "PUT " + binding, body: with(bind, `"app_guid":1`), status: 400, answer: `{"description":"app_guid: must be a string, not a number"}`},
		{name: "app_guid in bind_resource a number", given: []step{provisioned()}, send: "PUT " + binding, body: with(bind, `"bind_resource":{"app_guid":1}`), status: 400, answer: `{"description":"bind_resource.app_guid: must be a string, not a number"}`},
		{name: "bind_resource a string", given: []step{provisioned()}, send: "PUT " + binding, body: with(bind, `"bind_resource":"a"`), status: 400, answer: `{"description":"bind_resource: must be an object, not a string"}`},
		{name: "unknown service", given: []step{provisioned()}, send: "PUT " + binding, body: `{"service_id":"x","plan_id":"plan-small"}`, status: 400, answer: `{"description":"~service_id"}`},
		{name: "another service", given: []step{provisioned()}, send: "PUT " + binding, body: `{"service_id":"other-service-id","plan_id":"other-plan-id"}`, status: 400, answer: `{"description":"~service_id"}`},
		{name: "another plan", given: []step{provisioned()}, send: "PUT " + binding, body: bindLarge, status: 400, answer: `{"description":"~plan_id"}`},
		{name: "unknown parameter", given: []step{provisioned()}, send: "PUT " + binding, body: with(bind, `"parameters":{"rolle":"x"}`), status: 400, answer: `{"description":"~parameters.rolle"}`},
		{name: "parameter against its rule", given: []step{provisioned()}, send: "PUT " + binding, body: with(bind, `"parameters":{"role":"king"}`), status: 400, answer: `{"description":"~read_only"}`},
		{name: "plan that cannot be bound", given: []step{sent("PUT "+instance, fixed, 201)}, send: "PUT " + binding, body: `{"service_id":"service-id","plan_id":"plan-fixed"}`, status: 400, answer: `{"description":"~fixed"}`},
		{name: "refused by the backend", given: []step{provisioned(), refusing("bind", "$b", "no more seats")}, send: "PUT " + binding, body: bind, status: 400, answer: `{"description":"no more seats"}`},

		// In the way.
		{name: "unknown instance", send: "PUT " + binding, body: bind, status: 404, answer: `{"description":"*"}`},
		{name: "other parameters", given: []step{provisioned(), bound()}, send: "PUT " + binding, body: with(bind, `"parameters":{"role":"read_only"}`), status: 409, answer: `{"description":"~parameters"}`},
		{name: "another application", given: []step{provisioned(), bound()}, send: "PUT " + binding, body: with(bind, `"app_guid":"a"`), status: 409, answer: `{"description":"~app_guid"}`},
		{
			name: "id of another instance's binding", given: []step{provisioned(), bound(), sent("PUT /v2/service_instances/second-$i", small, 201)},
			send: "PUT /v2/service_instances/second-$i/service_bindings/$b", body: bind, status: 409, answer: `{"description":"*"}`,
		},
		{name: "no application on a plan that needs one", given: []step{sent("PUT "+instance, appOnly, 201)}, send: "PUT " + binding, body: bindApp, status: 422, answer: `{"error":"RequiresApp","description":"*"}`},
		{name: "empty application on a plan that needs one", given: []step{sent("PUT "+instance, appOnly, 201)}, send: "PUT " + binding, body: with(bindApp, `"bind_resource":{"app_guid":""}`), status: 422, answer: `{"error":"RequiresApp","description":"*"}`},
		{name: "asynchronous plan", given: []step{sent("PUT "+instance+async, slow, 201)}, send: "PUT " + binding, body: bindSlow, status: 422, answer: `{"error":"AsyncRequired","description":"*"}`},
		{
			name: "while the instance is being created", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202)},
			send: "PUT " + binding + async, body: bind, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},
		{
			name: "while the instance is being updated", given: []step{provisioned(), taking("update", "$i"), sent("PATCH "+instance+async, bindLarge, 202)},
			send: "PUT " + binding + async, body: bind, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},
		{
			name: "while it is being deleted", given: []step{provisioned(), bound(), taking("unbind", "$b"), sent("DELETE "+binding+query+"&accepts_incomplete=true", "", 202)},
			send: "PUT " + binding + async, body: bind, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},

		{name: "not done while a synchronous client waits", given: []step{provisioned(), taking("bind", "$b")}, send: "PUT " + binding, body: bind, status: 504, answer: `{"description":"~accepts_incomplete"}`},
	})
}

// A repeated bind answers the credentials that it answered before; a rotated one
// makes others, and both work.
func TestCredentialsOfRepeatedAndRotatedBinds(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.do(t, "PUT /v2/service_instances/i1", nil, small)
	first := w.do(t, "PUT /v2/service_instances/i1/service_bindings/b1", nil, bind)
	again := w.do(t, "PUT /v2/service_instances/i1/service_bindings/b1", nil, bind)
	fetched := w.do(t, "GET /v2/service_instances/i1/service_bindings/b1", nil, "")
	rotated := w.do(t, "PUT /v2/service_instances/i1/service_bindings/b2", nil, `{"predecessor_binding_id":"b1"}`)
	one, two := credentialsOf(t, first), credentialsOf(t, rotated)
	if one != credentialsOf(t, again) || one != credentialsOf(t, fetched) {
		t.Errorf("the same binding answers %s, %s and %s", first.body, again.body, fetched.body)
	}
	if one == two {
		t.Error("the rotated binding has its predecessor's credentials")
	}
	if !w.Backend.Works([]byte(one)) || !w.Backend.Works([]byte(two)) {
		t.Error("not both credentials work")
	}
	w.do(t, "DELETE /v2/service_instances/i1/service_bindings/b1"+query, nil, "")
	if w.Backend.Works([]byte(one)) || !w.Backend.Works([]byte(two)) {
		t.Error("not the predecessor alone was revoked")
	}
}

func credentialsOf(t *testing.T, g got) string {
	t.Helper()
	var body struct {
		Credentials json.RawMessage `json:"credentials"`
	}
	decode(t, g.body, &body)
	return string(body.Credentials)
}

// Rotation: PUT /v2/service_instances/:instance_id/service_bindings/:binding_id
// with predecessor_binding_id.
func TestRotate(t *testing.T) {
	t.Parallel()
	const next = instance + "/service_bindings/next-$b"
	const predecessor = `{"predecessor_binding_id":"$b"}`
	given := []step{provisioned(), bound()}
	newWire(t).run(t, []row{
		{name: "with nothing but the predecessor", given: given, send: "PUT " + next, body: predecessor, status: 201, answer: made},
		{name: "with service and plan", given: given, send: "PUT " + next, body: with(bind, `"predecessor_binding_id":"$b"`), status: 201, answer: made},
		{name: "with a context", given: given, send: "PUT " + next, body: with(predecessor, `"context":{"platform":"cloudfoundry"}`), status: 201, answer: made},
		{name: "the same again", given: []step{provisioned(), bound(), sent("PUT "+next, predecessor, 201)}, send: "PUT " + next, body: predecessor, status: 200, answer: made},
		{name: "work that takes long", given: []step{provisioned(), bound(), taking("bind", "next-$b")}, send: "PUT " + next + async, body: predecessor, status: 202, answer: `{"operation":"*"}`, says: []string{"Retry-After: 5"}},
		{
			name: "inherits parameters", given: []step{provisioned(), sent("PUT "+binding, with(bind, `"parameters":{"role":"read_only"}`), 201), sent("PUT "+next, predecessor, 201)},
			send: "GET " + next, status: 200, answer: `{` + credentials + `,` + endpoints + `,"parameters":{"role":"read_only"}}`,
		},
		{name: "unknown predecessor", given: []step{provisioned()}, send: "PUT " + next, body: predecessor, status: 400, answer: `{"description":"~predecessor_binding_id"}`},
		{name: "predecessor is deleted", given: []step{provisioned(), bound(), sent("DELETE "+binding+query, "", 200)}, send: "PUT " + next, body: predecessor, status: 400, answer: `{"description":"~predecessor_binding_id"}`},
		{
			name: "predecessor of another instance", given: []step{provisioned(), bound(), sent("PUT /v2/service_instances/second-$i", small, 201)},
			send: "PUT /v2/service_instances/second-$i/service_bindings/next-$b", body: predecessor, status: 400, answer: `{"description":"~predecessor_binding_id"}`,
		},
		{
			name: "plan without rotation", given: []step{sent("PUT "+instance, cascade, 201), sent("PUT "+binding, `{"service_id":"service-id","plan_id":"plan-cascade"}`, 201)},
			send: "PUT " + next, body: predecessor, status: 400, answer: `{"description":"~rotated"}`,
		},
		{name: "predecessor is no string", given: given, send: "PUT " + next, body: `{"predecessor_binding_id":["$b"]}`, status: 400, answer: `{"description":"~predecessor_binding_id: must be a string, not an array"}`},
		{name: "another service", given: given, send: "PUT " + next, body: with(predecessor, `"service_id":"other-service-id"`), status: 400, answer: `{"description":"~service_id"}`},
		{name: "service_id is no string", given: given, send: "PUT " + next, body: with(predecessor, `"service_id":1`), status: 400, answer: `{"description":"service_id: must be a string, not a number"}`},
	})
}

// GET /v2/service_instances/:instance_id/service_bindings/:binding_id
func TestFetchBinding(t *testing.T) {
	t.Parallel()
	newWire(t).run(t, []row{
		{
			name: "a binding", given: []step{provisioned(), sent("PUT "+binding, with(bind, `"parameters":{"role":"read_only"}`), 201)}, send: "GET " + binding + query, status: 200,
			answer: `{` + credentials + `,` + endpoints + `,"parameters":{"role":"read_only"}}`, says: []string{"Cache-Control: no-store"},
		},
		{
			name: "right when last_operation says succeeded", given: []step{provisioned(), taking("bind", "$b"), sent("PUT "+binding+async, bind, 202), then("bind", "$b"), ended(binding)},
			send: "GET " + binding, status: 200, answer: `{` + credentials + `,` + endpoints + `,"parameters":{}}`,
		},
		{name: "unknown", given: []step{provisioned()}, send: "GET " + binding, status: 404, answer: `{"description":"*"}`},
		{name: "unknown instance", send: "GET " + binding, status: 404, answer: `{"description":"*"}`},
		{name: "of another instance", given: []step{provisioned(), bound()}, send: "GET /v2/service_instances/second-$i/service_bindings/$b", status: 404, answer: `{"description":"*"}`},
		{name: "still being created", given: []step{provisioned(), taking("bind", "$b"), sent("PUT "+binding+async, bind, 202)}, send: "GET " + binding, status: 404, answer: `{"description":"*"}`},
		{name: "could not be created", given: []step{provisioned(), refusing("bind", "$b", "no"), sent("PUT "+binding, bind, 400)}, send: "GET " + binding, status: 404, answer: `{"description":"*"}`},
		{name: "deleted", given: []step{provisioned(), bound(), sent("DELETE "+binding+query, "", 200)}, send: "GET " + binding, status: 404, answer: `{"description":"*"}`},
	})
}

// GET /v2/service_instances/:instance_id/service_bindings/:binding_id/last_operation
func TestPollBinding(t *testing.T) {
	t.Parallel()
	const poll = binding + "/last_operation"
	newWire(t).run(t, []row{
		{
			name: "in progress", given: []step{provisioned(), taking("bind", "$b"), sent("PUT "+binding+async, bind, 202)}, send: "GET " + poll,
			status: 200, answer: `{"state":"in progress","description":"still at it"}`, says: []string{"Retry-After: 5"},
		},
		{name: "succeeded", given: []step{provisioned(), bound()}, send: "GET " + poll + query + "&operation=x", status: 200, answer: `{"state":"succeeded"}`, says: []string{"Retry-After: "}},
		{name: "failed to create", given: []step{provisioned(), refusing("bind", "$b", "no more seats"), sent("PUT "+binding, bind, 400)}, send: "GET " + poll, status: 200, answer: `{"state":"failed","description":"no more seats"}`},
		{name: "failed to delete", given: []step{provisioned(), bound(), refusing("unbind", "$b", "in use"), sent("DELETE "+binding+query, "", 422)}, send: "GET " + poll, status: 200, answer: `{"state":"failed","description":"in use"}`},
		{name: "deleted", given: []step{provisioned(), bound(), sent("DELETE "+binding+query, "", 200)}, send: "GET " + poll, status: 200, answer: `{"state":"succeeded"}`},
		{name: "unknown", given: []step{provisioned()}, send: "GET " + poll, status: 404, answer: `{"description":"*"}`},
	})
}

// DELETE /v2/service_instances/:instance_id/service_bindings/:binding_id
func TestUnbind(t *testing.T) {
	t.Parallel()
	const allowed = query + "&accepts_incomplete=true"
	newWire(t).run(t, []row{
		{name: "a binding", given: []step{provisioned(), bound()}, send: "DELETE " + binding + query, status: 200, answer: `{}`},
		{name: "quick where asynchronous is allowed", given: []step{provisioned(), bound()}, send: "DELETE " + binding + allowed, status: 200, answer: `{}`},
		{
			name: "work that takes long", given: []step{provisioned(), bound(), taking("unbind", "$b")}, send: "DELETE " + binding + allowed,
			status: 202, answer: `{"operation":"*"}`, says: []string{"Retry-After: 5"},
		},
		{
			name: "the same again while in progress", given: []step{provisioned(), bound(), taking("unbind", "$b"), sent("DELETE "+binding+allowed, "", 202)},
			send: "DELETE " + binding + allowed, status: 202, answer: `{"operation":"*"}`,
		},
		{name: "halts a create", given: []step{provisioned(), taking("bind", "$b"), sent("PUT "+binding+async, bind, 202)}, send: "DELETE " + binding + query, status: 200, answer: `{}`},
		{name: "after a create that was refused and left nothing", given: []step{provisioned(), refusing("bind", "$b", "no"), sent("PUT "+binding, bind, 400)}, send: "DELETE " + binding + query, status: 410, answer: `{"description":"*"}`},
		{name: "after a create that timed out", given: []step{provisioned(), taking("bind", "$b"), sent("PUT "+binding, bind, 504)}, send: "DELETE " + binding + query, status: 200, answer: `{}`},
		{name: "unknown", given: []step{provisioned()}, send: "DELETE " + binding + query, status: 410, answer: `{"description":"*"}`},
		{name: "unknown instance", send: "DELETE " + binding + query, status: 410, answer: `{"description":"*"}`},
		{name: "deleted before", given: []step{provisioned(), bound(), sent("DELETE "+binding+query, "", 200)}, send: "DELETE " + binding + query, status: 410, answer: `{"description":"*"}`},
		{name: "service_id missing", given: []step{provisioned(), bound()}, send: "DELETE " + binding + "?plan_id=plan-small", status: 400, answer: `{"description":"service_id is required in the query"}`},
		{name: "plan_id missing", given: []step{provisioned(), bound()}, send: "DELETE " + binding + "?service_id=service-id", status: 400, answer: `{"description":"plan_id is required in the query"}`},
		{name: "asynchronous plan", given: []step{sent("PUT "+instance+async, slow, 201), sent("PUT "+binding+async, bindSlow, 201)}, send: "DELETE " + binding + query, status: 422, answer: `{"error":"AsyncRequired","description":"*"}`},
		{
			name: "while the instance is being updated", given: []step{provisioned(), bound(), taking("update", "$i"), sent("PATCH "+instance+async, bindLarge, 202)},
			send: "DELETE " + binding + allowed, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},
		{name: "refused by the backend", given: []step{provisioned(), bound(), refusing("unbind", "$b", "in use")}, send: "DELETE " + binding + query, status: 422, answer: `{"description":"in use"}`},
	})
}

// Where the credential store is away, nothing is answered without credentials:
// a repeated bind is a 5xx, and right again later.
func TestCredentialStoreAway(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.do(t, "PUT /v2/service_instances/i1", nil, small)
	w.do(t, "PUT /v2/service_instances/i1/service_bindings/b1", nil, bind)
	w.Memory.Fail(errors.New("sealed"))
	for _, send := range []string{"PUT /v2/service_instances/i1/service_bindings/b1", "GET /v2/service_instances/i1/service_bindings/b1"} {
		if got := w.do(t, send, nil, bind); got.status != 503 {
			t.Errorf("%s: %d %s, want 503", send, got.status, got.body)
		}
	}
	w.Memory.Fail(nil)
	if got := w.do(t, "GET /v2/service_instances/i1/service_bindings/b1", nil, ""); got.status != 200 {
		t.Errorf("fetch: %d %s", got.status, got.body)
	}
}
