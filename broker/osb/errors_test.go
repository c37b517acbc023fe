package osb

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/chandler-broker/chandler/broker"
)

// Every kind of error that the broker knows has its row.
func TestErrorsOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   broker.Kind
		status int
		body   string
	}{
		{"internal", broker.Internal, 500, `{"description":"the broker failed; its log says why under the request identity r-1"}`},
		{"invalid", broker.Invalid, 400, `{"description":"why"}`},
		{"not found", broker.NotFound, 404, `{"description":"why"}`},
		{"conflict", broker.Conflict, 409, `{"description":"why"}`},
		{"gone", broker.Gone, 410, `{"description":"why"}`},
		{"concurrency", broker.Concurrency, 422, `{"error":"ConcurrencyError","description":"why"}`},
		{"asynchronous required", broker.AsyncRequired, 422, `{"error":"AsyncRequired","description":"why"}`},
		{"application required", broker.RequiresApp, 422, `{"error":"RequiresApp","description":"why"}`},
		{"maintenance", broker.MaintenanceInfoConflict, 422, `{"error":"MaintenanceInfoConflict","description":"why"}`},
		{"unsupported", broker.Unsupported, 422, `{"description":"why"}`},
		{"unavailable", broker.Unavailable, 503, `{"description":"why"}`},
		{"timed out", broker.TimedOut, 504, `{"description":"why"}`},
		{"failed", broker.Failed, 500, `{"description":"why"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := problemOf(&broker.Error{Kind: c.kind, Description: "why"}, "PUT", &exchange{requestID: "r-1"})
			if body, _ := json.Marshal(p); p.status != c.status || string(body) != c.body {
				t.Errorf("got %d %s, want %d %s", p.status, body, c.status, c.body)
			}
		})
	}
	if len(statuses) != int(broker.Failed)+1 {
		t.Errorf("the table has %d rows; the broker has %d kinds of error", len(statuses), broker.Failed+1)
	}
}

func TestUnknownErrorsTellNothing(t *testing.T) {
	err := errors.New("dial tcp 10.0.0.7:5432: password=hunter2")
	p := problemOf(broker.AsError(err), "PUT", &exchange{requestID: "r-1"})
	want := `{"description":"the broker failed; its log says why under the request identity r-1"}`
	if body, _ := json.Marshal(p); p.status != 500 || string(body) != want {
		t.Errorf("got %d %s, want 500 %s", p.status, body, want)
	}
}

// instance_usable is known to failed updates and deprovisions, update_repeatable
// to failed updates only (OSB, "Service Broker Errors").
func TestStateFieldsOfErrors(t *testing.T) {
	no := false
	failed := &broker.Error{Kind: broker.Failed, Description: "why", InstanceUsable: &no, UpdateRepeatable: &no}
	for _, c := range []struct{ name, method, bindingID, want string }{
		{"provision", "PUT", "", `{"description":"why"}`},
		{"update", "PATCH", "", `{"description":"why","instance_usable":false,"update_repeatable":false}`},
		{"deprovision", "DELETE", "", `{"description":"why","instance_usable":false}`},
		{"bind", "PUT", "b", `{"description":"why"}`},
		{"unbind", "DELETE", "b", `{"description":"why"}`},
		{"fetch", "GET", "", `{"description":"why"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := problemOf(failed, c.method, &exchange{bindingID: c.bindingID})
			if body, _ := json.Marshal(p); string(body) != c.want {
				t.Errorf("got %s, want %s", body, c.want)
			}
		})
	}
}
