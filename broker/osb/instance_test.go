package osb_test

import (
	"encoding/json"
	"strings"
	"testing"
)

func decode(t *testing.T, body string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}

const dashboard = `"dashboard_url":"https://dashboard.example.com/$i"`

// PUT /v2/service_instances/:instance_id
func TestProvision(t *testing.T) {
	t.Parallel()
	newWire(t).run(t, []row{
		// Created.
		{name: "a new instance", send: "PUT " + instance, body: small, status: 201, answer: `{` + dashboard + `}`, says: []string{"Cache-Control: no-store"}},
		{name: "quick where asynchronous is allowed", send: "PUT " + instance + async, body: small, status: 201, answer: `{` + dashboard + `}`, says: []string{"Retry-After: "}},
		{name: "with parameters", send: "PUT " + instance, body: with(small, `"parameters":{"colour":"red"}`), status: 201, answer: `{` + dashboard + `}`},
		{name: "maintenance_info without a version", send: "PUT " + instance, body: with(small, `"maintenance_info":{}`), status: 201, answer: `{` + dashboard + `}`},
		{name: "a null maintenance_info.version", send: "PUT " + instance, body: with(small, `"maintenance_info":{"version":null}`), status: 201, answer: `{` + dashboard + `}`},
		{name: "with the plan's maintenance_info", send: "PUT " + instance, body: with(small, `"maintenance_info":{"version":"1.2.3"}`), status: 201, answer: `{` + dashboard + `}`},
		{name: "plan without a dashboard", send: "PUT " + instance, body: fixed, status: 201, answer: `{}`},
		{
			name: "nulls are absent", send: "PUT " + instance,
			body: with(small, `"parameters":null,"context":null,"maintenance_info":null`), status: 201, answer: `{` + dashboard + `}`,
		},
		{
			name: "organisation and space in the context of Cloud Foundry", send: "PUT " + instance,
			body:   `{"service_id":"service-id","plan_id":"plan-small","context":{"platform":"cloudfoundry","organization_guid":"o","space_guid":"s"}}`,
			status: 201, answer: `{` + dashboard + `}`,
		},
		{
			name: "cluster and namespace in the context of Kubernetes", send: "PUT " + instance,
			body:   `{"service_id":"service-id","plan_id":"plan-small","context":{"platform":"kubernetes","clusterid":"c","namespace":"n"}}`,
			status: 201, answer: `{` + dashboard + `}`,
		},
		{
			name: "Kubernetes without a namespace", send: "PUT " + instance,
			body:   `{"service_id":"service-id","plan_id":"plan-small","context":{"platform":"kubernetes","clusterid":"c"}}`,
			status: 201, answer: `{` + dashboard + `}`,
		},
		{name: "organisation that is no UUID", send: "PUT " + instance, body: `{"service_id":"service-id","plan_id":"plan-small","organization_guid":"My Org/ä","space_guid":"'"}`, status: 201, answer: `{` + dashboard + `}`},

		// The same again.
		{name: "the same again", given: []step{provisioned()}, send: "PUT " + instance, body: small, status: 200, answer: `{` + dashboard + `}`},
		{
			name: "the same again in other words", given: []step{sent("PUT "+instance, with(small, `"parameters":{"colour":"red","weight":1}`), 201)},
			send: "PUT " + instance, body: with(small, `"parameters": {"weight": 1.0, "colour": "\u0072ed"}`), status: 200, answer: `{` + dashboard + `}`,
		},
		{name: "absent parameters are empty ones", given: []step{provisioned()}, send: "PUT " + instance, body: with(small, `"parameters":{}`), status: 200, answer: `{` + dashboard + `}`},
		{
			name: "the same from the context", given: []step{provisioned()}, send: "PUT " + instance,
			body:   `{"service_id":"service-id","plan_id":"plan-small","context":{"platform":"cloudfoundry","organization_guid":"org","space_guid":"space"}}`,
			status: 200, answer: `{` + dashboard + `}`,
		},

		// Accepted.
		{
			name: "work that takes long", given: []step{taking("provision", "$i")}, send: "PUT " + instance + async, body: small,
			status: 202, answer: `{` + dashboard + `,"operation":"*"}`, says: []string{"Retry-After: 5"},
		},
		{
			name: "the same again while in progress", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202)},
			send: "PUT " + instance + async, body: small, status: 202, answer: `{` + dashboard + `,"operation":"*"}`, says: []string{"Retry-After: 5"},
		},
		{
			name: "the same again until it is done", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202), then("provision", "$i"), ended(instance)},
			send: "PUT " + instance + async, body: small, status: 200, answer: `{` + dashboard + `}`,
		},

		// Malformed.
		{name: "service_id missing", send: "PUT " + instance, body: `{"plan_id":"plan-small","organization_guid":"o","space_guid":"s"}`, status: 400, answer: `{"description":"service_id: is required"}`},
		{name: "plan_id empty", send: "PUT " + instance, body: `{"service_id":"service-id","plan_id":"","organization_guid":"o","space_guid":"s"}`, status: 400, answer: `{"description":"plan_id: is required"}`},
		{
			name: "everything missing", send: "PUT " + instance, body: `{}`, status: 400,
			answer: `{"description":"service_id: is required; plan_id: is required; organization_guid: is required, here or in the context; space_guid: is required, here or in the context"}`,
		},
		{
			name: "space missing on Cloud Foundry", send: "PUT " + instance,
			body:   `{"service_id":"service-id","plan_id":"plan-small","context":{"platform":"cloudfoundry","organization_guid":"o"}}`,
			status: 400, answer: `{"description":"space_guid: is required, here or in the context"}`,
		},
		{name: "organisation a number", send: "PUT " + instance, body: `{"service_id":"service-id","plan_id":"plan-small","organization_guid":1,"space_guid":"s"}`, status: 400, answer: `{"description":"organization_guid: must be a string, not a number"}`},
		{name: "organisation in the context an object", send: "PUT " + instance, body: with(small, `"context":{"organization_guid":{}}`), status: 400, answer: `{"description":"context.organization_guid: must be a string, not an object"}`},
		{name: "maintenance_info a string", send: "PUT " + instance, body: with(small, `"maintenance_info":"1.2.3"`), status: 400, answer: `{"description":"maintenance_info: must be an object, not a string"}`},
		{name: "maintenance_info.version a number", send: "PUT " + instance, body: with(small, `"maintenance_info":{"version":1.2}`), status: 400, answer: `{"description":"maintenance_info.version: must be a string, not a number"}`},
		{name: "unknown service", send: "PUT " + instance, body: `{"service_id":"x","plan_id":"plan-small","organization_guid":"o","space_guid":"s"}`, status: 400, answer: `{"description":"~service_id"}`},
		{name: "unknown plan", send: "PUT " + instance, body: `{"service_id":"service-id","plan_id":"x","organization_guid":"o","space_guid":"s"}`, status: 400, answer: `{"description":"~plan_id"}`},
		{name: "plan of another service", send: "PUT " + instance, body: `{"service_id":"service-id","plan_id":"other-plan-id","organization_guid":"o","space_guid":"s"}`, status: 400, answer: `{"description":"~plan_id"}`},
		{name: "unknown parameter", send: "PUT " + instance, body: with(small, `"parameters":{"color":"red"}`), status: 400, answer: `{"description":"~parameters.color"}`},
		{name: "parameter of the wrong type", send: "PUT " + instance, body: with(small, `"parameters":{"colour":7}`), status: 400, answer: `{"description":"~parameters.colour"}`},
		{name: "parameter against its rule", send: "PUT " + instance, body: with(small, `"parameters":{"colour":"more than twenty characters"}`), status: 400, answer: `{"description":"~20"}`},
		{name: "refused by the backend", given: []step{refusing("provision", "$i", "parameters.colour: we are out of it")}, send: "PUT " + instance, body: small, status: 400, answer: `{"description":"parameters.colour: we are out of it"}`},

		// In the way.
		{name: "another plan", given: []step{provisioned()}, send: "PUT " + instance, body: cascade, status: 409, answer: `{"description":"~plan_id"}`},
		{name: "another service", given: []step{provisioned()}, send: "PUT " + instance, body: `{"service_id":"other-service-id","plan_id":"other-plan-id","organization_guid":"org","space_guid":"space"}`, status: 409, answer: `{"description":"~service_id"}`},
		{name: "another organisation", given: []step{provisioned()}, send: "PUT " + instance, body: `{"service_id":"service-id","plan_id":"plan-small","organization_guid":"x","space_guid":"space"}`, status: 409, answer: `{"description":"~organization_guid"}`},
		{name: "another space", given: []step{provisioned()}, send: "PUT " + instance, body: `{"service_id":"service-id","plan_id":"plan-small","organization_guid":"org","space_guid":"x"}`, status: 409, answer: `{"description":"~space_guid"}`},
		{name: "other parameters", given: []step{provisioned()}, send: "PUT " + instance, body: with(small, `"parameters":{"colour":"red"}`), status: 409, answer: `{"description":"~parameters"}`},
		{
			name: "other parameters while in progress", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202)},
			send: "PUT " + instance + async, body: with(small, `"parameters":{"colour":"red"}`), status: 409, answer: `{"description":"~parameters"}`,
		},
		{name: "asynchronous plan", send: "PUT " + instance, body: slow, status: 422, answer: `{"error":"AsyncRequired","description":"~accepts_incomplete"}`},
		{name: "asynchronous plan, allowed", send: "PUT " + instance + async, body: slow, status: 201, answer: `{}`},
		{name: "another maintenance version", send: "PUT " + instance, body: with(small, `"maintenance_info":{"version":"1.2.4"}`), status: 422, answer: `{"error":"MaintenanceInfoConflict","description":"~1.2.3"}`},
		{name: "maintenance_info where the plan has none", send: "PUT " + instance, body: with(fixed, `"maintenance_info":{"version":"1.2.3"}`), status: 422, answer: `{"error":"MaintenanceInfoConflict","description":"*"}`},
		{
			name: "while it is being deleted", given: []step{provisioned(), taking("deprovision", "$i"), sent("DELETE "+instance+query+"&accepts_incomplete=true", "", 202)},
			send: "PUT " + instance + async, body: small, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},

		// Not done in time: a 5xx, after which the platform cleans up.
		{name: "not done while a synchronous client waits", given: []step{taking("provision", "$i")}, send: "PUT " + instance, body: small, status: 504, answer: `{"description":"~accepts_incomplete"}`},
	})
}

// GET /v2/service_instances/:instance_id
func TestFetchInstance(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.run(t, []row{
		{
			name: "an instance", given: []step{sent("PUT "+instance, with(small, `"parameters":{"colour":"red","weight":[1e3]}`), 201)}, send: "GET " + instance, status: 200,
			answer: `{"service_id":"service-id","plan_id":"plan-small",` + dashboard + `,"parameters":{"colour":"red","weight":[1000]},"maintenance_info":{"version":"1.2.3"}}`,
		},
		{name: "with hints", given: []step{provisioned()}, send: "GET " + instance + query, status: 200, answer: `{"service_id":"service-id","plan_id":"plan-small",` + dashboard + `,"parameters":{},"maintenance_info":{"version":"1.2.3"}}`},
		{name: "plan with nothing special", given: []step{sent("PUT "+instance, fixed, 201)}, send: "GET " + instance, status: 200, answer: `{"service_id":"service-id","plan_id":"plan-fixed","parameters":{}}`},
		{
			name:  "parameters merged from provision and update",
			given: []step{sent("PUT "+instance, with(small, `"parameters":{"colour":"red","weight":1}`), 201), sent("PATCH "+instance, `{"service_id":"service-id","parameters":{"colour":"blue"}}`, 200)},
			send:  "GET " + instance, status: 200,
			answer: `{"service_id":"service-id","plan_id":"plan-small",` + dashboard + `,"parameters":{"colour":"blue","weight":1},"maintenance_info":{"version":"1.2.3"}}`,
		},
		{
			name: "right when last_operation says succeeded", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202), then("provision", "$i"), ended(instance)},
			send: "GET " + instance, status: 200, answer: `{"service_id":"service-id","plan_id":"plan-small",` + dashboard + `,"parameters":{},"maintenance_info":{"version":"1.2.3"}}`,
		},
		{name: "unknown", send: "GET " + instance, status: 404, answer: `{"description":"*"}`},
		{name: "still being created", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202)}, send: "GET " + instance, status: 404, answer: `{"description":"*"}`},
		{name: "could not be created", given: []step{refusing("provision", "$i", "no"), sent("PUT "+instance, small, 400)}, send: "GET " + instance, status: 404, answer: `{"description":"*"}`},
		{
			name: "being updated", given: []step{provisioned(), taking("update", "$i"), sent("PATCH "+instance+async, `{"service_id":"service-id","plan_id":"plan-large"}`, 202)},
			send: "GET " + instance, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},
		{name: "deleted", given: []step{provisioned(), sent("DELETE "+instance+query, "", 200)}, send: "GET " + instance, status: 404, answer: `{"description":"*"}`},
	})
}

// PATCH /v2/service_instances/:instance_id
func TestUpdate(t *testing.T) {
	t.Parallel()
	const toLarge = `{"service_id":"service-id","plan_id":"plan-large"}`
	newWire(t).run(t, []row{
		{name: "another plan", given: []step{provisioned()}, send: "PATCH " + instance, body: toLarge, status: 200, answer: `{}`},
		{name: "parameters", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","parameters":{"colour":"red"}}`, status: 200, answer: `{` + dashboard + `}`},
		{name: "no effect", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id"}`, status: 200, answer: `{` + dashboard + `}`},
		{name: "the same plan", given: []step{sent("PUT "+instance, fixed, 201)}, send: "PATCH " + instance, body: `{"service_id":"service-id","plan_id":"plan-fixed"}`, status: 200, answer: `{}`},
		{name: "context alone", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","context":{"platform":"cloudfoundry","instance_name":"new"}}`, status: 200, answer: `{` + dashboard + `}`},
		{name: "maintenance_info without a version", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","maintenance_info":{}}`, status: 200, answer: `{` + dashboard + `}`},
		{name: "maintenance_info of the plan", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","maintenance_info":{"version":"1.2.3"}}`, status: 200, answer: `{` + dashboard + `}`},
		{
			name: "previous_values is a hint", given: []step{provisioned()}, send: "PATCH " + instance,
			body:   with(toLarge, `"previous_values":{"plan_id":"x","service_id":"y","organization_id":"z","space_id":"s","maintenance_info":{"version":"9.9.9"}}`),
			status: 200, answer: `{}`,
		},
		{name: "nulls are absent", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","plan_id":null,"parameters":null,"context":null,"previous_values":null,"maintenance_info":null}`, status: 200, answer: `{` + dashboard + `}`},

		{
			name: "work that takes long", given: []step{provisioned(), taking("update", "$i")}, send: "PATCH " + instance + async, body: toLarge,
			status: 202, answer: `{"operation":"*"}`, says: []string{"Retry-After: 5"},
		},
		{
			name: "the same again while in progress", given: []step{provisioned(), taking("update", "$i"), sent("PATCH "+instance+async, toLarge, 202)},
			send: "PATCH " + instance + async, body: toLarge, status: 202, answer: `{"operation":"*"}`,
		},

		{name: "service_id missing", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"plan_id":"plan-large"}`, status: 400, answer: `{"description":"service_id: is required"}`},
		{name: "another service", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"other-service-id"}`, status: 400, answer: `{"description":"~service_id"}`},
		{name: "unknown plan", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","plan_id":"x"}`, status: 400, answer: `{"description":"~plan_id"}`},
		{name: "plan of another service", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","plan_id":"other-plan-id"}`, status: 400, answer: `{"description":"~plan_id"}`},
		{name: "parameter of the wrong type", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","parameters":{"colour":1}}`, status: 400, answer: `{"description":"~parameters.colour"}`},
		{name: "previous_values a string", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","previous_values":"x"}`, status: 400, answer: `{"description":"previous_values: must be an object, not a string"}`},
		{name: "unknown instance", send: "PATCH " + instance, body: toLarge, status: 404, answer: `{"description":"*"}`},
		{
			name: "plan that cannot be left", given: []step{sent("PUT "+instance, fixed, 201)}, send: "PATCH " + instance, body: toLarge,
			status: 422, answer: `{"description":"~fixed","instance_usable":true,"update_repeatable":false}`,
		},
		{
			name: "refused before it is accepted", given: []step{provisioned()}, send: "PATCH " + instance + async, body: `{"service_id":"service-id","parameters":{"colour":"black"}}`,
			status: 422, answer: `{"description":"~black","instance_usable":true,"update_repeatable":false}`,
		},
		{
			name: "refused by the backend and undone", given: []step{provisioned(), refusing("update", "$i", "too much in it")}, send: "PATCH " + instance, body: toLarge,
			status: 422, answer: `{"description":"too much in it","instance_usable":true,"update_repeatable":false}`,
		},
		{name: "asynchronous plan", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","plan_id":"plan-slow"}`, status: 422, answer: `{"error":"AsyncRequired","description":"*"}`},
		{name: "another maintenance version", given: []step{provisioned()}, send: "PATCH " + instance, body: `{"service_id":"service-id","maintenance_info":{"version":"2.0.0"}}`, status: 422, answer: `{"error":"MaintenanceInfoConflict","description":"*"}`},
		{name: "maintenance_info where the plan has none", given: []step{sent("PUT "+instance, fixed, 201)}, send: "PATCH " + instance, body: `{"service_id":"service-id","maintenance_info":{"version":"1.0.0"}}`, status: 422, answer: `{"error":"MaintenanceInfoConflict","description":"*"}`},
		{
			name: "while another update is in progress", given: []step{provisioned(), taking("update", "$i"), sent("PATCH "+instance+async, toLarge, 202)},
			send: "PATCH " + instance + async, body: `{"service_id":"service-id","parameters":{"colour":"red"}}`, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},
		{
			name: "while a bind is in progress", given: []step{provisioned(), taking("bind", "$b"), sent("PUT "+binding+async, bind, 202)},
			send: "PATCH " + instance + async, body: toLarge, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},
		{
			name: "while it is being created", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202)},
			send: "PATCH " + instance + async, body: toLarge, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},
	})
}

// DELETE /v2/service_instances/:instance_id
func TestDeprovision(t *testing.T) {
	t.Parallel()
	const allowed = query + "&accepts_incomplete=true"
	newWire(t).run(t, []row{
		{name: "an instance", given: []step{provisioned()}, send: "DELETE " + instance + query, status: 200, answer: `{}`},
		{name: "quick where asynchronous is allowed", given: []step{provisioned()}, send: "DELETE " + instance + allowed, status: 200, answer: `{}`},
		{name: "with the plan it had before", given: []step{provisioned(), sent("PATCH "+instance, `{"service_id":"service-id","plan_id":"plan-large"}`, 200)}, send: "DELETE " + instance + query, status: 200, answer: `{}`},
		{
			name: "work that takes long", given: []step{provisioned(), taking("deprovision", "$i")}, send: "DELETE " + instance + allowed,
			status: 202, answer: `{"operation":"*"}`, says: []string{"Retry-After: 5"},
		},
		{
			name: "the same again while in progress", given: []step{provisioned(), taking("deprovision", "$i"), sent("DELETE "+instance+allowed, "", 202)},
			send: "DELETE " + instance + allowed, status: 202, answer: `{"operation":"*"}`,
		},
		{name: "halts a create", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202)}, send: "DELETE " + instance + query, status: 200, answer: `{}`},
		{name: "after a create that was refused and left nothing", given: []step{refusing("provision", "$i", "no"), sent("PUT "+instance, small, 400)}, send: "DELETE " + instance + query, status: 410, answer: `{"description":"*"}`},
		{
			name: "after a create that was accepted, refused and left nothing", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202), refusing("provision", "$i", "no"), ended(instance)},
			send: "DELETE " + instance + query, status: 410, answer: `{"description":"*"}`,
		},
		{name: "after a create that timed out", given: []step{taking("provision", "$i"), sent("PUT "+instance, small, 504)}, send: "DELETE " + instance + query, status: 200, answer: `{}`},
		{name: "with bindings, on a plan that cascades", given: []step{sent("PUT "+instance, cascade, 201), sent("PUT "+binding, `{"service_id":"service-id","plan_id":"plan-cascade"}`, 201)}, send: "DELETE " + instance + query, status: 200, answer: `{}`},
		{
			name: "with bindings", given: []step{provisioned(), bound()}, send: "DELETE " + instance + query,
			status: 422, answer: `{"description":"~$b","instance_usable":true}`,
		},
		{name: "unknown", send: "DELETE " + instance + query, status: 410, answer: `{"description":"*"}`},
		{name: "deleted before", given: []step{provisioned(), sent("DELETE "+instance+query, "", 200)}, send: "DELETE " + instance + query, status: 410, answer: `{"description":"*"}`},
		{name: "service_id and plan_id missing", given: []step{provisioned()}, send: "DELETE " + instance, status: 400, answer: `{"description":"service_id is required in the query; plan_id is required in the query"}`},
		{name: "plan_id empty", given: []step{provisioned()}, send: "DELETE " + instance + "?service_id=service-id&plan_id=", status: 400, answer: `{"description":"plan_id is required in the query"}`},
		{name: "service_id twice", given: []step{provisioned()}, send: "DELETE " + instance + query + "&service_id=x", status: 400, answer: `{"description":"~more than once"}`},
		{name: "asynchronous plan", given: []step{sent("PUT "+instance+async, slow, 201)}, send: "DELETE " + instance + query, status: 422, answer: `{"error":"AsyncRequired","description":"*"}`},
		{
			name: "while it is being updated", given: []step{provisioned(), taking("update", "$i"), sent("PATCH "+instance+async, `{"service_id":"service-id","plan_id":"plan-large"}`, 202)},
			send: "DELETE " + instance + allowed, status: 422, answer: `{"error":"ConcurrencyError","description":"*"}`,
		},
		{
			name: "refused by the backend", given: []step{provisioned(), refusing("deprovision", "$i", "protected")}, send: "DELETE " + instance + query,
			status: 422, answer: `{"description":"protected","instance_usable":true}`,
		},
	})
}

// GET /v2/service_instances/:instance_id/last_operation
func TestPollInstance(t *testing.T) {
	t.Parallel()
	const poll = instance + "/last_operation"
	newWire(t).run(t, []row{
		{
			name: "in progress", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202)}, send: "GET " + poll,
			status: 200, answer: `{"state":"in progress","description":"still at it"}`, says: []string{"Retry-After: 5"},
		},
		{name: "succeeded", given: []step{provisioned()}, send: "GET " + poll, status: 200, answer: `{"state":"succeeded"}`, says: []string{"Retry-After: "}},
		{name: "with all hints", given: []step{provisioned()}, send: "GET " + poll + query + "&operation=unknown", status: 200, answer: `{"state":"succeeded"}`},
		{name: "failed to create", given: []step{refusing("provision", "$i", "no room"), sent("PUT "+instance, small, 400)}, send: "GET " + poll, status: 200, answer: `{"state":"failed","description":"no room"}`},
		{
			name: "failed to create after it was accepted", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202), refusing("provision", "$i", "no room"), ended(instance)},
			send: "GET " + poll, status: 200, answer: `{"state":"failed","description":"no room"}`,
		},
		{
			name: "failed to update", given: []step{provisioned(), taking("update", "$i"), sent("PATCH "+instance, `{"service_id":"service-id","plan_id":"plan-large"}`, 504), then("update", "$i"), ended(instance)},
			send: "GET " + poll, status: 200, answer: `{"state":"failed","description":"*","instance_usable":true,"update_repeatable":true}`,
		},
		{
			name: "failed to delete", given: []step{provisioned(), refusing("deprovision", "$i", "protected"), sent("DELETE "+instance+query, "", 422)},
			send: "GET " + poll, status: 200, answer: `{"state":"failed","description":"protected","instance_usable":true}`,
		},
		{name: "deleted", given: []step{provisioned(), sent("DELETE "+instance+query, "", 200)}, send: "GET " + poll, status: 200, answer: `{"state":"succeeded"}`},
		{name: "deleted while it was being created", given: []step{taking("provision", "$i"), sent("PUT "+instance+async, small, 202), sent("DELETE "+instance+query, "", 200)}, send: "GET " + poll, status: 200, answer: `{"state":"succeeded"}`},
		{name: "unknown", send: "GET " + poll, status: 404, answer: `{"description":"*"}`},
		{name: "operation too long", given: []step{provisioned()}, send: "GET " + poll + "?operation=" + strings.Repeat("x", 10_001), status: 400, answer: `{"description":"~10000"}`},
	})
}
