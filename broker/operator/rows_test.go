package operator

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/store"
)

// Operators see rows of the state without what platforms sent, which may be secret.
func TestRowsAsJSON(t *testing.T) {
	at, sent := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), []byte(`{"password":"hunter2"}`)
	for name, test := range map[string]struct {
		row  any
		want string
	}{
		"operation": {
			store.Operation{
				Seq: 7, ID: "o", Kind: store.Bind, Platform: "cf", InstanceID: "i", BindingID: "b", ServiceID: "s", PlanID: "p", Parameters: sent, Context: sent,
				State: store.Failed, Phase: store.PhaseUndo, Outcome: store.OutcomeTimedOut, Description: "d", LastError: "e", Attempts: 3, JobID: 8,
				RequestID: "r", Originating: sent, CreatedAt: at, Deadline: at, FinishedAt: &at, MaintenanceVersion: "1", Usable: true, RetainedUntil: &at,
			},
			`{"id":"o","kind":"bind","platform":"cf","instance_id":"i","binding_id":"b","state":"failed","phase":"undoing","outcome":"timed_out","description":"d",` +
				`"last_error":"e","attempts":3,"request_id":"r","created_at":"2026-01-02T03:04:05Z","deadline":"2026-01-02T03:04:05Z","finished_at":"2026-01-02T03:04:05Z"}`,
		},
		"audit": {
			store.Audit{
				Seq: 7, At: at, Platform: "cf", Originating: []byte(`{"user":"u"}`), RequestID: "r", Action: store.ActionRemove, Event: store.EventAccepted,
				InstanceID: "i", BindingID: "b", OperationID: "o", ServiceID: "s", PlanID: "p", Outcome: store.OutcomeForgotten, Resource: "x",
			},
			`{"at":"2026-01-02T03:04:05Z","platform":"cf","originating":{"user":"u"},"request_id":"r","action":"remove","event":"accepted",` +
				`"instance_id":"i","binding_id":"b","operation_id":"o","outcome":"forgotten","resource":"x"}`,
		},
		"binding": {
			newBinding(store.Binding{
				ID: "b", InstanceID: "i", Platform: "cf", ServiceID: "s", PlanID: "p", AppID: "a", BindResource: sent, Context: sent, Parameters: sent,
				PredecessorID: "c", Endpoints: sent, Status: store.Ready, CreatedAt: at, UpdatedAt: at, ExpiresAt: &at, RenewBefore: &at, Delivery: "inline",
			}),
			`{"id":"b","instance_id":"i","platform":"cf","app_id":"a","predecessor_id":"c","status":"ready","created_at":"2026-01-02T03:04:05Z",` +
				`"expires_at":"2026-01-02T03:04:05Z","credentials_path":"instances/i/bindings/b/credentials"}`,
		},
		"instance": {
			Instance{
				Instance: store.Instance{
					ID: "i", Platform: "cf", ServiceID: "s", PlanID: "p", OrganizationID: "o", SpaceID: "q", Context: sent, Parameters: sent, MaintenanceVersion: "1",
					Status: store.Retained, Condition: "c", ConditionReason: "over_quota", CreatedAt: at, UpdatedAt: at, ResourceID: "j", RetainedUntil: &at,
					Namespace: "n", Server: "a", Backend: "pg", BackendType: "database/postgres", ResourceName: "x",
				},
				Service: "database", Plan: "small", Server: "pg/a", Resource: "db_i", PlanVersion: "2",
			},
			`{"id":"i","platform":"cf","organization_id":"o","space_id":"q","maintenance_version":"1","status":"kept","condition":"c",` +
				`"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","resource_id":"j","kept_until":"2026-01-02T03:04:05Z",` +
				`"condition_reason":"over_quota","service":"database","plan":"small","server":"pg/a","resource":"db_i","plan_maintenance_version":"2"}`,
		},
		"operation of an instance": {
			store.Operation{ID: "o", Kind: store.Provision, Platform: "cf", InstanceID: "i", State: store.InProgress, Phase: store.PhaseDo, CreatedAt: at, Deadline: at},
			`{"id":"o","kind":"provision","platform":"cf","instance_id":"i","state":"in progress","phase":"doing","attempts":0,` +
				`"created_at":"2026-01-02T03:04:05Z","deadline":"2026-01-02T03:04:05Z"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(test.row)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
