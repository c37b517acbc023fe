package broker_test

import (
	"context"
	"encoding/json"
	"flag"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
)

func TestMain(m *testing.M) {
	// Tests wait more than they work.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	embeddedtest.Main(m)
}

func newHarness(t *testing.T, o brokertest.Options) *brokertest.Harness {
	t.Helper()
	if o.DatabaseURL == "" {
		o.DatabaseURL = brokertest.Database(t)
	}
	return brokertest.New(t, o)
}

// client calls a broker as one platform and reads its answers as words: 200,
// 201, 202, or the kind of error.
type client struct {
	*brokertest.Harness
	ctx context.Context
}

func newClient(t *testing.T, o brokertest.Options) client {
	t.Helper()
	t.Parallel()
	return client{newHarness(t, o), brokertest.CallerContext()}
}

func (c client) as(platform string) client { return client{c.Harness, brokertest.ContextOf(platform)} }

// answer is what a request came to.
type answer struct {
	word        string
	operation   string // of a 202
	err         *broker.Error
	credentials string
	dashboard   string
	endpoints   []services.Endpoint
}

func kindWord(k broker.Kind) string {
	return map[broker.Kind]string{
		broker.Internal: "Internal", broker.Invalid: "Invalid", broker.NotFound: "NotFound", broker.Conflict: "Conflict",
		broker.Gone: "Gone", broker.Concurrency: "Concurrency", broker.AsyncRequired: "AsyncRequired",
		broker.RequiresApp: "RequiresApp", broker.MaintenanceInfoConflict: "MaintenanceInfoConflict",
		broker.Unsupported: "Unsupported", broker.Unavailable: "Unavailable", broker.TimedOut: "TimedOut", broker.Failed: "Failed",
	}[k]
}

func newAnswer(err error, async, exists bool, operation string) answer {
	switch {
	case err != nil:
		e := broker.AsError(err)
		return answer{word: kindWord(e.Kind), err: e}
	case async:
		return answer{word: "202", operation: operation}
	case exists:
		return answer{word: "200"}
	}
	return answer{word: "201"}
}

// text is the error's description and, for a failure of ours, its cause.
func (a answer) text() string {
	switch {
	case a.err == nil:
		return ""
	case a.err.Cause != nil:
		return a.err.Description + " (" + a.err.Cause.Error() + ")"
	}
	return a.err.Description
}

func (a answer) want(t *testing.T, word string) answer {
	t.Helper()
	if a.word != word {
		t.Fatalf("the answer is %s %q, not %s", a.word, a.text(), word)
	}
	return a
}

func on(plan string) domain.ProvisionDetails {
	return domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: plan, OrganizationGUID: "org", SpaceGUID: "space"}
}

func with(d domain.ProvisionDetails, parameters string) domain.ProvisionDetails {
	d.RawParameters = json.RawMessage(parameters)
	return d
}

func (c client) provision(id string, d domain.ProvisionDetails, async bool) answer {
	spec, err := c.Provision(c.ctx, id, d, async)
	a := newAnswer(err, spec.IsAsync, spec.AlreadyExists, spec.OperationData)
	a.dashboard = spec.DashboardURL
	return a
}

func (c client) update(id string, d domain.UpdateDetails, async bool) answer {
	if d.ServiceID == "" {
		d.ServiceID = brokertest.Service
	}
	spec, err := c.Update(c.ctx, id, d, async)
	a := newAnswer(err, spec.IsAsync, true, spec.OperationData)
	a.dashboard = spec.DashboardURL
	return a
}

func (c client) deprovision(id string, async bool) answer {
	operation, err := c.Deprovision(c.ctx, id, async)
	return newAnswer(err, operation != "", true, operation)
}

func bound(plan, parameters string) domain.BindDetails {
	return domain.BindDetails{ServiceID: brokertest.Service, PlanID: plan, AppGUID: "app", RawParameters: json.RawMessage(parameters)}
}

func bindAnswer(b broker.Binding, err error) answer {
	a := newAnswer(err, b.OperationData != "", b.AlreadyExists, b.OperationData)
	if b.Credentials != nil {
		raw, _ := json.Marshal(b.Credentials)
		a.credentials = string(raw)
	}
	a.endpoints = b.Endpoints
	return a
}

func (c client) bind(instance, id string, d domain.BindDetails, async bool) answer {
	return bindAnswer(c.Bind(c.ctx, instance, id, d, async))
}

func (c client) rotate(instance, id string, r broker.Rotation) answer {
	return bindAnswer(c.Rotate(c.ctx, instance, id, r, true))
}

func (c client) unbind(instance, id string, async bool) answer {
	operation, err := c.Unbind(c.ctx, instance, id, async)
	return newAnswer(err, operation != "", true, operation)
}

func (c client) fetch(id string) (answer, broker.Instance) {
	details, err := c.FetchInstance(c.ctx, id)
	return newAnswer(err, false, true, ""), details
}

func (c client) fetchBinding(instance, id string) answer {
	binding, err := c.FetchBinding(c.ctx, instance, id)
	return bindAnswer(broker.Binding{AlreadyExists: true, Credentials: binding.Credentials}, err)
}

// poll returns the operation's state, or the kind of error.
func (c client) poll(instance, binding, operation string) (string, broker.Poll) {
	poll, err := c.Poll(c.ctx, instance, binding, operation)
	if err != nil {
		return kindWord(broker.AsError(err).Kind), poll
	}
	return string(poll.State), poll
}
