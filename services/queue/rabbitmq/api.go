package rabbitmq

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

	"github.com/chandler-broker/chandler/services"
)

// api is the management API of a server.
type api struct {
	administrator administrator
	transport     *http.Transport
}

// connectTimeout bounds one attempt to reach the server, so that a server that
// is away is told from one that is slow.
const connectTimeout = 5 * time.Second

func newAPI(c Config, a administrator, s server) (*api, error) {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: connectTimeout,
		MaxConnsPerHost:     c.MaxConnections,
		MaxIdleConnsPerHost: c.MaxConnections,
		IdleConnTimeout:     30 * time.Second, // the server's own patience is 60 s
	}
	if s.ca != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("read the system's certificates: %w", err)
		}
		roots.AppendCertsFromPEM([]byte(s.ca))
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &api{administrator: a, transport: transport}, nil
}

// client is the API for one call of a verb.
func (a *api) client(ctx context.Context) (*rabbithole.Client, error) {
	return rabbithole.NewTLSClient(a.administrator.endpoint.String(), a.administrator.name, a.administrator.password.Reveal(), call{ctx, a.transport})
}

// putVhost makes a virtual host, or changes its description. It is not
// rabbit-hole's because RabbitMQ 3.10 reads the queue type under a key of its
// own, which later versions ignore.
func (a *api) putVhost(ctx context.Context, name, description, queueType string) error {
	settings := map[string]any{"description": description}
	if queueType != "" {
		settings["default_queue_type"], settings["defaultqueuetype"] = queueType, queueType
	}
	body, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	where := a.administrator.endpoint.String() + "/api/vhosts/" + url.PathEscape(name)
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, where, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(a.administrator.name, a.administrator.password.Reveal())
	_, err = call{ctx, a.transport}.RoundTrip(request)
	return err
}

// get reads parts of resources, which rabbit-hole cannot request.
func (a *api) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.administrator.endpoint.String()+path, nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(a.administrator.name, a.administrator.password.Reveal())
	answer, err := call{ctx, a.transport}.RoundTrip(request)
	if err != nil {
		return err
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// call is a transport for the length of ctx, which rabbit-hole knows nothing
// of. It keeps connections, reads answers to their end and turns all that are
// not the API's into errors.
type call struct {
	ctx  context.Context
	next http.RoundTripper
}

// maxAnswer is more than the list of a hundred thousand users takes.
const maxAnswer = 64 << 20

// RoundTrip implements http.RoundTripper.
func (c call) RoundTrip(request *http.Request) (answer *http.Response, err error) {
	request = request.Clone(c.ctx)
	request.Close = false // rabbit-hole asks for a connection per call
	if request.Method == http.MethodGet {
		return c.send(request)
	}
	err = services.RunToCompletion(c.ctx, func(ctx context.Context) (err error) {
		answer, err = c.send(request.WithContext(ctx))
		return err
	})
	return answer, err
}

func (c call) send(request *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(request)
	if err != nil {
		return nil, &outage{err}
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, &outage{err}
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	if err := check(request.Method, answer, body); err != nil {
		return nil, err
	}
	return answer, nil
}

// check returns an error for everything but success; the absence of what is to
// be deleted is one.
func check(method string, answer *http.Response, body []byte) error {
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
