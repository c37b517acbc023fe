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

// request is what the verbs read.
type request struct {
	instanceID, bindingID string

	http  *http.Request
	w     http.ResponseWriter // the server's own, for its limits
	query url.Values
	wait  time.Duration // that the broker may take
}

// verb is one of the nine endpoints that need the broker.
type verb func(ctx context.Context, r *request) (answer, error)

// verb makes a handler: it decodes what all verbs have in common, and writes
// the answer.
func (a *api) verb(serve verb) handler {
	return func(x *exchange, hr *http.Request) error {
		r, err := newRequest(x, hr)
		if err != nil {
			return err
		}
		r.wait = a.Broker.SyncWait + slack
		if hr.Method == http.MethodGet || hr.Method == http.MethodDelete {
			r.extendDeadlines()
		}
		x.instanceID, x.bindingID = r.instanceID, r.bindingID
		ctx := broker.WithCaller(hr.Context(), broker.Caller{
			Platform:    x.platform,
			RequestID:   x.requestID,
			Originating: x.originating,
		})
		ans, err := serve(ctx, r)
		if err != nil {
			return err
		}
		return x.answer(ans)
	}
}

func newRequest(x *exchange, r *http.Request) (*request, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("the query cannot be read: it must be NAME=VALUE pairs, percent-encoded")
	}
	out := &request{http: r, w: x.ResponseWriter, query: query}
	if out.instanceID, err = pathID(x.vars, "instance_id"); err != nil {
		return nil, err
	}
	if _, ok := x.vars["binding_id"]; ok {
		out.bindingID, err = pathID(x.vars, "binding_id")
	}
	return out, err
}

// pathID returns an ID of the path. The router matched the path as it was sent,
// so that an ID may hold slashes and dots; they are decoded here.
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
		return errors.New("must not hold a NUL character")
	case utf8.RuneCountInString(id) > maxID:
		return errors.New(tooLong())
	}
	return nil
}

// param returns a value of the query; empty where it is absent.
func (r *request) param(name string) (string, error) {
	values := r.query[name]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", invalid("the query holds " + name + " more than once")
	}
	if !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0) {
		return "", invalid(name + " in the query must be UTF-8 without a NUL character")
	}
	return values[0], nil
}

// plan returns service_id and plan_id of the query; empty where absent.
func (r *request) plan() (serviceID, planID string, err error) {
	if serviceID, err = r.param("service_id"); err != nil {
		return "", "", err
	}
	planID, err = r.param("plan_id")
	return serviceID, planID, err
}

// requiredPlan returns service_id and plan_id of the query of a delete.
func (r *request) requiredPlan() (serviceID, planID string, err error) {
	serviceID, planID, err = r.plan()
	if err != nil {
		return "", "", err
	}
	var faults []string
	if serviceID == "" {
		faults = append(faults, "service_id is required in the query")
	}
	if planID == "" {
		faults = append(faults, "plan_id is required in the query")
	}
	if faults != nil {
		return "", "", invalid(strings.Join(faults, "; "))
	}
	return serviceID, planID, nil
}

// async says whether the platform can wait for an operation by polling.
func (r *request) async() (bool, error) {
	value, err := r.param("accepts_incomplete")
	if err != nil {
		return false, err
	}
	switch value {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	if _, sent := r.query["accepts_incomplete"]; sent {
		return false, invalid("accepts_incomplete in the query must be true or false")
	}
	return false, nil
}

// body returns the members of the body.
func (r *request) body() (*fields, error) {
	f, err := readBody(r.w, r.http)
	r.extendDeadlines()
	return f, err
}

// extendDeadlines gives the broker its time once all that is needed has been
// read. The server's own deadlines are for slow clients; a read deadline that
// passes while the broker waits would cancel the request.
func (r *request) extendDeadlines() {
	c, until := http.NewResponseController(r.w), time.Now().Add(r.wait)
	_ = c.SetReadDeadline(until) // a server that cannot has no deadlines either
	_ = c.SetWriteDeadline(until)
}
