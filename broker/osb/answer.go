package osb

import (
	"net/http"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// firstPoll is the Retry-After of work that outlasts the broker's own wait.
const firstPoll = 5 * time.Second

// answer is the result of a verb. Its body is one of the types below, which have exactly
// the members that the specification has for the endpoint.
type answer struct {
	code       int
	body       any
	retryAfter time.Duration // 0: none
}

func (x *exchange) answer(a answer) error {
	setRetryAfter(x.Header(), a.retryAfter)
	return x.json(a.code, a.body)
}

// outcome answers 202 if the work continues, and otherwise the code.
func outcome(continues bool, code int, body any) answer {
	if continues {
		return answer{http.StatusAccepted, body, firstPoll}
	}
	return answer{code: code, body: body}
}

// created is the code of a create, or of one that was repeated.
func created(exists bool) int {
	if exists {
		return http.StatusOK
	}
	return http.StatusCreated
}

// operationBody answers deletes and asynchronous binds.
type operationBody struct {
	Operation string `json:"operation,omitempty"`
}

// instanceBody answers a provision and an update.
type instanceBody struct {
	DashboardURL string           `json:"dashboard_url,omitempty"`
	Operation    string           `json:"operation,omitempty"`
	Metadata     instanceMetadata `json:"metadata,omitzero"`
}

// fetchedInstanceBody answers the fetch of an instance.
type fetchedInstanceBody struct {
	ServiceID       string           `json:"service_id"`
	PlanID          string           `json:"plan_id"`
	DashboardURL    string           `json:"dashboard_url,omitempty"`
	Parameters      any              `json:"parameters,omitempty"`
	MaintenanceInfo maintenanceInfo  `json:"maintenance_info,omitzero"`
	Metadata        instanceMetadata `json:"metadata,omitzero"`
}

// instanceMetadata is omitted if it is empty.
type instanceMetadata struct{ domain.InstanceMetadata }

func (m instanceMetadata) IsZero() bool { return m.IsEmpty() }

type maintenanceInfo struct {
	Version string `json:"version"`
}

// lastOperationBody answers both polls.
type lastOperationBody struct {
	State            domain.LastOperationState `json:"state"`
	Description      string                    `json:"description,omitempty"`
	InstanceUsable   *bool                     `json:"instance_usable,omitempty"`
	UpdateRepeatable *bool                     `json:"update_repeatable,omitempty"`
}
