package osb

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// firstPoll is what Retry-After tells the platform when work was accepted that
// was not done within the broker's own wait.
const firstPoll = 5 * time.Second

// answer is what a verb returns. Its body is one of the types below, which have
// the members that the specification knows for the endpoint and no other.
type answer struct {
	code       int
	body       any
	retryAfter time.Duration // none where it is 0
}

func (x *exchange) answer(a answer) error {
	if a.retryAfter > 0 {
		x.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retryAfter.Seconds()))))
	}
	return x.json(a.code, a.body)
}

// accepted is the answer that work goes on.
func accepted(body any) answer {
	return answer{code: http.StatusAccepted, body: body, retryAfter: firstPoll}
}

// operationBody answers deletes and asynchronous binds.
type operationBody struct {
	Operation string `json:"operation,omitempty"`
}

// instanceBody answers a provision and an update.
type instanceBody struct {
	DashboardURL string                   `json:"dashboard_url,omitempty"`
	Operation    string                   `json:"operation,omitempty"`
	Metadata     *domain.InstanceMetadata `json:"metadata,omitempty"`
}

func instanceMetadata(m domain.InstanceMetadata) *domain.InstanceMetadata {
	if m.IsEmpty() {
		return nil
	}
	return &m
}

// fetchedInstanceBody answers the fetch of an instance.
type fetchedInstanceBody struct {
	ServiceID       string                   `json:"service_id"`
	PlanID          string                   `json:"plan_id"`
	DashboardURL    string                   `json:"dashboard_url,omitempty"`
	Parameters      any                      `json:"parameters,omitempty"`
	MaintenanceInfo *maintenanceInfo         `json:"maintenance_info,omitempty"`
	Metadata        *domain.InstanceMetadata `json:"metadata,omitempty"`
}

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
