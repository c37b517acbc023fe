package osb

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/broker"
)

// slack is how long an answer may take beyond the time that the broker waits
// for an operation.
const slack = 10 * time.Second

// verb answers one of the nine endpoints that need the broker.
type verb func(ctx context.Context, x *exchange) (answer, error)

// verb makes a handler, which reads the request and writes the answer.
func (a *api) verb(serve verb) handler {
	return func(x *exchange, r *http.Request) error {
		err := x.decode(r)
		x.extendDeadlines(a.Broker.SyncWait + slack)
		if err != nil {
			return err
		}
		ctx := broker.WithCaller(r.Context(), broker.Caller{
			Platform:    x.platform,
			RequestID:   x.requestID,
			Originating: x.originating,
			Gone:        func() bool { return isClientGone(r.Context()) },
		})
		ans, err := serve(ctx, x)
		if err != nil {
			return err
		}
		return x.answer(ans)
	}
}

// decode reads what the verbs of a method have in common: the IDs in the path, whether
// the client accepts 202 (all but GET), and the body of a PUT or PATCH, or else the service
// and the plan in the query, which DELETE requires.
func (x *exchange) decode(r *http.Request) (err error) {
	if x.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return invalid("the query cannot be read: it must be NAME=VALUE pairs, percent-encoded")
	}
	if x.instanceID, err = pathID(x.vars, "instance_id"); err != nil {
		return err
	}
	if x.bindingID, err = pathID(x.vars, "binding_id"); err != nil {
		return err
	}
	if r.Method != http.MethodGet {
		if err = x.readAsync(); err != nil {
			return err
		}
	}
	if r.Method == http.MethodPut || r.Method == http.MethodPatch {
		x.body, err = readBody(x.ResponseWriter, r)
		return err
	}
	return x.checkPlan(r.Method == http.MethodDelete)
}

// pathID decodes an ID of the path; empty if the path has none. The router matched the path
// as it was sent, so that an ID may contain slashes and dots.
func pathID(vars map[string]string, name string) (string, error) {
	id, err := url.PathUnescape(vars[name])
	if err == nil {
		err = checkID(id)
	}
	if err != nil {
		return "", invalid(name + " in the path " + err.Error())
	}
	return id, nil
}

func checkID(id string) error {
	switch {
	case !utf8.ValidString(id):
		return errors.New("is not UTF-8")
	case strings.ContainsRune(id, 0):
		return errors.New("must not contain a NUL character")
	case utf8.RuneCountInString(id) > maxID:
		return errors.New(tooLong())
	}
	return nil
}

// param returns a value of the query; empty if it is absent.
func (x *exchange) param(name string) (string, error) {
	values := x.query[name]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", invalid("the query contains " + name + " more than once")
	}
	if !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0) {
		return "", invalid(name + " in the query must be UTF-8 without a NUL character")
	}
	return values[0], nil
}

// checkPlan checks the form of the query's service and plan. Nothing depends on them: the
// state has those of the instance.
func (x *exchange) checkPlan(required bool) error {
	var faults []string
	for _, name := range []string{"service_id", "plan_id"} {
		value, err := x.param(name)
		if err != nil {
			return err
		}
		if required && value == "" {
			faults = append(faults, name+" is required in the query")
		}
	}
	if faults != nil {
		return invalid(strings.Join(faults, "; "))
	}
	return nil
}

func (x *exchange) readAsync() error {
	value, err := x.param("accepts_incomplete")
	x.async = value == "true"
	if err == nil && x.query.Has("accepts_incomplete") && value != "true" && value != "false" {
		return invalid("accepts_incomplete in the query must be true or false")
	}
	return err
}

// extendDeadlines gives the broker its time after the request was read. The server's own
// deadlines are for slow clients; a read deadline that expires while the broker waits would
// cancel the request.
func (x *exchange) extendDeadlines(wait time.Duration) {
	c, until := http.NewResponseController(x.ResponseWriter), time.Now().Add(wait)
	_ = c.SetReadDeadline(until) // fails only on a server without deadlines
	_ = c.SetWriteDeadline(until)
}
