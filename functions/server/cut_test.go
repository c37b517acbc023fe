package server

import (
	"net/url"
	"testing"

	"github.com/chandler-broker/chandler/functions/admin/admintest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// cutRequest is a request while connections are cut.
type cutRequest struct {
	method, path string
	body         any
	fresh        bool // make what it deletes first
}

// A request whose connection to the database is cut, before the database gets a call or after
// it has answered, succeeds or gets 503 with a text, and succeeds when it is repeated.
func TestConnectionCut(t *testing.T) {
	server := newServer(t)
	proxy := servicetest.NewProxy(t, server.address(t))
	u, err := url.Parse(server.database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = proxy.Address()
	behind := &testServer{database: u.String(), key: server.key}
	behind.start(t)
	limits := admintest.Limits()
	limits.InvocationsPerMinute, limits.FiresPerMinute = 1<<30, 1<<30
	straight := server.bound(t, server.operator(t), space, limits)
	cut := straight
	cut.host = behind.url
	rule := object{"trigger": "/_/fired", "action": "/_/called"}
	straight.expect(t, 200, "PUT", straight.own("/actions/called"), javascript(hello))
	straight.expect(t, 200, "PUT", straight.own("/triggers/fired"), object{})
	straight.expect(t, 200, "PUT", straight.own("/rules/ruled"), rule)
	for _, request := range []cutRequest{
		{method: "PUT", path: "/actions/made?overwrite=true", body: javascript(hello)},
		{method: "PUT", path: "/packages/made-package?overwrite=true", body: object{}},
		{method: "PUT", path: "/triggers/made-trigger?overwrite=true", body: object{}},
		{method: "PUT", path: "/rules/made-rule?overwrite=true", body: rule},
		{method: "POST", path: "/actions/called?blocking=true", body: object{}},
		{method: "POST", path: "/actions/called", body: object{}},
		{method: "POST", path: "/triggers/fired", body: object{}},
		{method: "POST", path: "/rules/ruled", body: object{"status": "active"}},
		{method: "GET", path: "/actions/called"},
		{method: "GET", path: "/activations?docs=true"},
		{method: "DELETE", path: "/actions/gone", body: javascript(hello), fresh: true},
	} {
		t.Run(request.method+" "+request.path, func(t *testing.T) {
			cutEverywhere(t, proxy, func(t *testing.T) {
				if request.fresh {
					straight.expect(t, 200, "PUT", straight.own(request.path+"?overwrite=true"), request.body)
				}
			}, func(t *testing.T) { request.make(t, cut) }, func(t *testing.T) { request.again(t, cut) })
		})
	}
}

// cutEverywhere cuts the connection of each call that during makes, with before and after
// around it uncut.
func cutEverywhere(t *testing.T, proxy *servicetest.Proxy, before, during, after func(*testing.T)) {
	t.Helper()
	for _, when := range []servicetest.Moment{servicetest.Before, servicetest.After} {
		cuts := 0
		for ; cuts < 100; cuts++ {
			before(t)
			proxy.ArmConnection(cuts+1, when)
			during(t)
			calls := proxy.Calls()
			proxy.Arm(0, when)
			if calls <= cuts {
				break // it made fewer calls
			}
			after(t)
		}
		t.Logf("%d cuts %s a call", cuts, when)
		if cuts == 0 || cuts == 100 {
			t.Errorf("%d cuts, want 1 to 99", cuts)
		}
	}
}

func (r cutRequest) make(t *testing.T, a application) {
	t.Helper()
	status, answer := a.do(t, r.method, a.own(r.path), r.body)
	problem, _ := answer.(object)
	if message, _ := problem["error"].(string); status >= 300 && (status != 503 || message == "") {
		t.Errorf("%d %v", status, answer)
	}
}

func (r cutRequest) again(t *testing.T, a application) {
	t.Helper()
	status, answer := a.do(t, r.method, a.own(r.path), r.body)
	if gone := r.fresh && status == 404; status >= 300 && !gone {
		t.Errorf("again: %d %v", status, answer)
	}
}
