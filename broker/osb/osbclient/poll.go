package osbclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The states of an operation (OSB 2.17, "Polling Last Operation").
const (
	InProgress = "in progress"
	Succeeded  = "succeeded"
	Failed     = "failed"
)

// LastOperation is the state of an operation.
type LastOperation struct {
	Response
	State       string `json:"state"`
	Description string `json:"description"`
	// InstanceUsable and UpdateRepeatable are nil if the broker omits them.
	InstanceUsable   *bool `json:"instance_usable"`
	UpdateRepeatable *bool `json:"update_repeatable"`
}

// Poll is the query of a poll. All but Deletion are hints.
type Poll struct {
	ServiceID, PlanID, Operation string
	// Deletion says that the resource is being deleted, so that Gone (410)
	// means success. It is not sent.
	Deletion bool
}

func (p Poll) to(path string) Request {
	return Request{
		Method: http.MethodGet, Path: path + "/last_operation",
		Query: query("service_id", p.ServiceID, "plan_id", p.PlanID, "operation", p.Operation),
	}
}

// LastOperation asks once for the state of an instance's operation.
func (c *Client) LastOperation(ctx context.Context, instanceID string, p Poll) (LastOperation, error) {
	return call[LastOperation](ctx, c, p.to(instancePath(instanceID)))
}

// LastBindingOperation asks once for the state of a binding's operation.
func (c *Client) LastBindingOperation(ctx context.Context, instanceID, bindingID string, p Poll) (LastOperation, error) {
	return call[LastOperation](ctx, c, p.to(bindingPath(instanceID, bindingID)))
}

// FailedError is an operation that ended in the state "failed".
type FailedError struct{ LastOperation }

func (e *FailedError) Error() string {
	if e.Description == "" {
		return "the operation failed, and the broker does not say why"
	}
	return "the operation failed: " + e.Description
}

// WaitInstance polls until the instance's operation has ended, and returns a *FailedError if
// it failed. As the specification requires, it continues if the broker does not answer or
// fails (5xx); a refusal (4xx) ends it. ctx limits the whole.
func (c *Client) WaitInstance(ctx context.Context, instanceID string, p Poll) (LastOperation, error) {
	return c.wait(ctx, p, p.to(instancePath(instanceID)))
}

// WaitBinding is WaitInstance for a binding's operation.
func (c *Client) WaitBinding(ctx context.Context, instanceID, bindingID string, p Poll) (LastOperation, error) {
	return c.wait(ctx, p, p.to(bindingPath(instanceID, bindingID)))
}

func (c *Client) wait(ctx context.Context, p Poll, r Request) (LastOperation, error) {
	for {
		last, err := call[LastOperation](ctx, c, r)
		switch {
		case err == nil && last.State == Failed:
			return last, &FailedError{last}
		case err == nil && last.State == Succeeded:
			return last, nil
		case err == nil && last.State != InProgress:
			return last, fmt.Errorf("the broker answered a poll with the unknown state %q", last.State)
		case err != nil && last.Status == http.StatusGone && p.Deletion:
			last.State = Succeeded
			return last, nil
		case err != nil && last.Status >= 400 && last.Status < 500:
			return last, err
		}
		select {
		case <-time.After(c.retryAfter(last.Header)):
		case <-ctx.Done():
			return last, fmt.Errorf("waiting for the operation: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// pollInterval is the pause between polls without a Retry-After.
const pollInterval = time.Second

// retryAfter returns the pause before the next poll: Retry-After in seconds or
// as a date (RFC 9110, section 10.2.3).
func (c *Client) retryAfter(h http.Header) time.Duration {
	after := pollInterval
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		after = max(time.Until(at), 0)
	}
	if c.options.MaxRetryAfter > 0 {
		after = min(after, c.options.MaxRetryAfter)
	}
	return after
}
