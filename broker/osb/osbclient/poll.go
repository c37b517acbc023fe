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

// LastOperation is how an operation stands.
type LastOperation struct {
	Response
	State       string `json:"state"`
	Description string `json:"description"`
	// InstanceUsable and UpdateRepeatable are nil where the broker leaves them
	// out.
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

// LastOperation asks once how an instance's operation stands.
func (c *Client) LastOperation(ctx context.Context, instanceID string, p Poll) (LastOperation, error) {
	return c.lastOperation(ctx, p.to(instancePath(instanceID)))
}

// LastBindingOperation asks once how a binding's operation stands.
func (c *Client) LastBindingOperation(ctx context.Context, instanceID, bindingID string, p Poll) (LastOperation, error) {
	return c.lastOperation(ctx, p.to(bindingPath(instanceID, bindingID)))
}

func (c *Client) lastOperation(ctx context.Context, r Request) (LastOperation, error) {
	var last LastOperation
	var err error
	last.Response, err = c.call(ctx, r, &last)
	return last, err
}

// FailedError is an operation that ended in the state "failed".
type FailedError struct{ LastOperation }

func (e *FailedError) Error() string {
	if e.Description == "" {
		return "the operation failed, and the broker does not say why"
	}
	return "the operation failed: " + e.Description
}

// WaitInstance polls until the instance's operation has ended, and returns a
// *FailedError where it failed. As the specification asks, it goes on when no
// answer comes or the broker itself fails (5xx); a refusal (4xx) ends it. ctx
// bounds the whole.
func (c *Client) WaitInstance(ctx context.Context, instanceID string, p Poll) (LastOperation, error) {
	return c.wait(ctx, p, p.to(instancePath(instanceID)))
}

// WaitBinding is WaitInstance for a binding's operation.
func (c *Client) WaitBinding(ctx context.Context, instanceID, bindingID string, p Poll) (LastOperation, error) {
	return c.wait(ctx, p, p.to(bindingPath(instanceID, bindingID)))
}

func (c *Client) wait(ctx context.Context, p Poll, r Request) (LastOperation, error) {
	for {
		last, err := c.lastOperation(ctx, r)
		switch {
		case err == nil && last.State == Failed:
			return last, &FailedError{last}
		case err == nil && last.State == Succeeded:
			return last, nil
		case err == nil && last.State != InProgress:
			return last, fmt.Errorf("the broker answered a poll with the state %q, which there is not", last.State)
		case err != nil && last.Status == http.StatusGone && p.Deletion:
			last.State = Succeeded
			return last, nil
		case err != nil && last.Status >= 400 && last.Status < 500:
			return last, err
		}
		if interrupted := pause(ctx, c.retryAfter(last.Header)); interrupted != nil {
			return last, fmt.Errorf("waiting for the operation: %w", errors.Join(interrupted, err))
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pollInterval is the pause where the broker names none.
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
	if c.maxRetryAfter > 0 {
		after = min(after, c.maxRetryAfter)
	}
	return after
}
