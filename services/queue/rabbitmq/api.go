package rabbitmq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// api is the management API of a server.
type api struct {
	administrator administrator
	transport     *http.Transport
}

func newAPI(c Config, a administrator, ca string) *api {
	transport := httpapi.NewTransport(ca, c.MaxConnections)
	transport.MaxConnsPerHost = c.MaxConnections
	return &api{administrator: a, transport: transport}
}

// client is the API for one call of a verb.
func (a *api) client(ctx context.Context) *rabbithole.Client {
	c := &rabbithole.Client{Endpoint: a.administrator.endpoint.String(), Username: a.administrator.name, Password: a.administrator.password.Reveal()}
	c.SetTransport(call{ctx, a.transport})
	return c
}

// putVhost makes or changes a virtual host. rabbit-hole does not send the key under which RabbitMQ
// 3.10 reads the queue type; later versions ignore it.
func (a *api) putVhost(ctx context.Context, name, description, queueType string) error {
	settings := map[string]any{"description": description}
	if queueType != "" {
		settings["default_queue_type"], settings["defaultqueuetype"] = queueType, queueType
	}
	body, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	_, err = a.send(ctx, http.MethodPut, "/api/vhosts/"+url.PathEscape(name), bytes.NewReader(body)) //nolint:bodyclose // it is in memory
	return err
}

// get reads parts of resources, which rabbit-hole cannot request.
func (a *api) get(ctx context.Context, path string, into any) error {
	answer, err := a.send(ctx, http.MethodGet, path, nil) //nolint:bodyclose // it is in memory
	if err != nil {
		return err
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

func (a *api) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.administrator.endpoint.String()+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(a.administrator.name, a.administrator.password.Reveal())
	return call{ctx, a.transport}.RoundTrip(request)
}

// call is a transport with a context, which rabbit-hole does not take. It keeps connections open,
// and returns an error for every answer that is not the API's.
type call struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c call) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(c.ctx)
	request.Close = false // rabbit-hole asks for a connection per call
	answer, body, err := httpapi.Exchange(c.next, request, request.Method != http.MethodGet)
	if err == nil {
		err = checkAnswer(request.Method, answer, body)
	}
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// checkAnswer returns an error for all but success, which includes deleting what is absent.
func checkAnswer(method string, answer *http.Response, body []byte) error {
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	switch status := answer.StatusCode; {
	case status == http.StatusCreated, status == http.StatusNoContent:
		if method != http.MethodGet {
			return nil
		}
	case status == http.StatusOK:
		if method == http.MethodGet && kind == "application/json" && json.Valid(body) {
			return nil
		}
	case status == http.StatusNotFound && method == http.MethodDelete && kind == "application/json":
		return nil
	case status == http.StatusNotFound && kind != "application/json": // any web server's
	case status >= http.StatusBadRequest:
		return readRefusal(status, body)
	}
	return fmt.Errorf("the reply did not come from RabbitMQ's management API: %s", answer.Status)
}

// refusal is an error with which the API answered.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server answers %d %s", r.status, r.reason)
}

// readRefusal reads an error's body. Reasons are a string or a list.
func readRefusal(status int, body []byte) error {
	var answer struct {
		Error  string          `json:"error"`
		Reason json.RawMessage `json:"reason"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return &refusal{status, "without a reason: " + http.StatusText(status)}
	}
	var text string
	if json.Unmarshal(answer.Reason, &text) != nil {
		text = string(answer.Reason)
	}
	return &refusal{status, answer.Error + ": " + text}
}

// explain adds what the broker was doing and what the operator can do.
func explain(doing string, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the operator knows the address
	}
	if errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return services.Explain(doing, err, nil)
	}
	return services.Explain(doing, err, advice())
}

func advice() []services.Advice {
	status := func(status int) func(error) bool {
		return func(err error) bool { return statusOf(err) == status }
	}
	return []services.Advice{
		{About: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, Text: "the server did not answer in time"},
		{About: httpapi.IsOutage, Text: "the server is away or closed the connection"},
		{About: status(0), Text: "let the url name the management plugin's port, 15672 unless it was changed"},
		{About: status(http.StatusUnauthorized), Text: "the server does not accept the url's user and password, or the user lacks the tag administrator"},
		{About: status(http.StatusInternalServerError), Text: "the server failed; its log says why, such as a full disk"},
		{About: status(http.StatusForbidden), Text: "the administrator lacks a right; give it the tag administrator"},
	}
}

// absent says whether the server has no such thing.
func absent(err error) bool { return statusOf(err) == http.StatusNotFound }

// failed says whether the server failed, for example to close a connection that just ended.
func failed(err error) bool { return statusOf(err) == http.StatusInternalServerError }

// statusOf is the status of a refusal; 0: err is none.
func statusOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status
	}
	return 0
}
