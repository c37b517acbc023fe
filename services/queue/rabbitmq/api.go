package rabbitmq

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

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
func (a *api) client(ctx context.Context) (*rabbithole.Client, error) {
	return rabbithole.NewTLSClient(a.administrator.endpoint.String(), a.administrator.name, a.administrator.password.Reveal(), call{ctx, a.transport})
}

// putVhost makes a virtual host, or changes its description. rabbit-hole does not send
// the key under which RabbitMQ 3.10 reads the queue type, and which later versions
// ignore.
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

// call is a transport for the length of ctx, which rabbit-hole does not take. It keeps
// connections open and turns every answer that is not the API's into an error.
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

// checkAnswer returns an error for everything but success. Deleting what does not exist is
// a success.
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
		return refused(status, body)
	}
	return fmt.Errorf("%w: %s", errForeign, answer.Status)
}
