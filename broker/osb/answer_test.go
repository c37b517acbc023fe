package osb

import (
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/store"
)

// The bodies about instances and operations; what is not there is absent.
func TestBodies(t *testing.T) {
	labelled := domain.InstanceMetadata{Labels: map[string]any{"a": "b"}, Attributes: map[string]any{"condition": "over its storage limit"}}
	no := false
	for _, c := range []struct {
		name string
		body any
		want string
	}{
		{"provision with nothing to tell", instanceBody{}, `{}`},
		{
			"provision", instanceBody{DashboardURL: "https://d", Operation: "o", Metadata: instanceMetadata{labelled}},
			`{"dashboard_url":"https://d","operation":"o","metadata":{"labels":{"a":"b"},"attributes":{"condition":"over its storage limit"}}}`,
		},
		{"fetch with nothing more", broker.Instance{ServiceID: "s", PlanID: "p"}, `{"service_id":"s","plan_id":"p"}`},
		{
			"fetch", broker.Instance{ServiceID: "s", PlanID: "p", Parameters: []byte("{}"), MaintenanceInfo: domain.MaintenanceInfo{Version: "1.0.0"}},
			`{"service_id":"s","plan_id":"p","parameters":{},"maintenance_info":{"version":"1.0.0"}}`,
		},
		{"delete with nothing to poll", operationBody{}, `{}`},
		{"poll", broker.Poll{State: store.Succeeded}, `{"state":"succeeded"}`},
		{
			"poll of a failure", broker.Poll{State: store.Failed, Description: "why", InstanceUsable: &no, UpdateRepeatable: &no},
			`{"state":"failed","description":"why","instance_usable":false,"update_repeatable":false}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, recorded := recordedExchange("PUT", "/")
			if err := x.answer(answer{code: 200, body: c.body}); err != nil {
				t.Fatal(err)
			}
			if got := recorded.Body.String(); got != c.want+"\n" {
				t.Errorf("got  %swant %s", got, c.want)
			}
		})
	}
}

// Retry-After is in whole seconds and never too short.
func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{0, ""}, {time.Millisecond, "1"}, {time.Second, "1"}, {1500 * time.Millisecond, "2"}, {time.Minute, "60"}} {
		x, recorded := recordedExchange("GET", "/")
		if err := x.answer(answer{code: 202, body: operationBody{}, retryAfter: c.after}); err != nil {
			t.Fatal(err)
		}
		if got := recorded.Header().Get("Retry-After"); got != c.want {
			t.Errorf("Retry-After of %s is %q, want %q", c.after, got, c.want)
		}
	}
}

func TestAnswerThatCannotBeEncoded(t *testing.T) {
	x, recorded := recordedExchange("PUT", "/")
	if err := x.json(201, map[string]any{"credentials": func() {}}); err == nil || recorded.Body.Len() != 0 {
		t.Errorf("error %v, written %q; want an error and nothing written", err, recorded.Body)
	}
}
