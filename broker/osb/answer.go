package osb

import (
	"context"
	"net/http"
	"time"
	"unicode/utf8"
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

// maxOperation is the length of an operation (OSB, "Polling Last Operation").
const maxOperation = 10_000

// poll answers GET .../last_operation of an instance or a binding (OSB, "Polling Last
// Operation").
func (a *api) poll(ctx context.Context, x *exchange) (answer, error) {
	operation, err := x.param("operation")
	if err == nil && utf8.RuneCountInString(operation) > maxOperation {
		err = invalid("operation in the query has more than 10000 characters")
	}
	if err != nil {
		return answer{}, err
	}
	p, err := a.Broker.Poll(ctx, x.instanceID, x.bindingID, operation)
	return answer{code: http.StatusOK, body: p, retryAfter: p.RetryAfter}, err
}
