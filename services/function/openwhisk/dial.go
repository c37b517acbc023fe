package openwhisk

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/apache/openwhisk-client-go/whisk"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// dial opens a session as an application does: with OpenWhisk's official client
// and nothing but the credentials.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	c := &client{}
	c.host, _ = credentials["api_host"].(string)
	c.auth, _ = credentials["auth"].(string)
	c.namespace, _ = credentials["namespace"].(string)
	ca, _ := credentials["ca"].(string)
	c.transport = httpapi.NewTransport(ca, 2)
	if err := c.Ping(ctx); err != nil {
		_ = c.Close() // it holds nothing but idle connections
		return nil, err
	}
	return c, nil
}

// client is an application's session: its actions answer what was written.
type client struct {
	transport             *http.Transport
	host, auth, namespace string
}

// sessionPatience bounds what a session waits for an answer: a blocking call is
// answered within a minute.
const sessionPatience = 70 * time.Second

// maxResult is more than any answer takes: a result of a megabyte, escaped.
const maxResult = 16 << 20

// sessionTransport gives requests the context that the client has no place for,
// and closes the answers' bodies, which the client does not.
type sessionTransport struct {
	ctx  context.Context
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t sessionTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r.WithContext(t.ctx))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResult))
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// call hands do the official client, bound to ctx. The client changes its own
// configuration as it works: each call has one of its own.
func (c *client) call(ctx context.Context, what string, do func(*whisk.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, sessionPatience)
	defer cancel()
	w, err := whisk.NewClient(&http.Client{Transport: sessionTransport{ctx, c.transport}}, &whisk.Config{
		Host: c.host, AuthToken: c.auth, Namespace: c.namespace,
	})
	if err == nil {
		err = do(w)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func probe(key string) string { return "chandler-probe-" + hex.EncodeToString([]byte(key)) }

// Write implements services.Session: it deploys a function that answers value.
func (c *client) Write(ctx context.Context, key, value string) error {
	literal, err := json.Marshal(value) // JSON is JavaScript (ECMAScript 2019)
	if err != nil {
		return err
	}
	code := "function main() { return { value: " + string(literal) + " }; }"
	return c.call(ctx, "deploy a function", func(w *whisk.Client) error {
		_, _, err := w.Actions.Insert(&whisk.Action{
			Name: probe(key), Exec: &whisk.Exec{Kind: "nodejs:default", Code: &code},
		}, true)
		return err
	})
}

// Read implements services.Session: it calls the function.
func (c *client) Read(ctx context.Context, key string) (value string, err error) {
	err = c.call(ctx, "call a function", func(w *whisk.Client) error {
		answer, _, err := w.Actions.Invoke(probe(key), map[string]any{}, true, true)
		if err != nil {
			return err
		}
		result, _ := answer.(map[string]any)
		text, ok := result["value"].(string)
		if !ok {
			return errors.New("it did not answer a value")
		}
		value = text
		return nil
	})
	return value, err
}

// Ping implements services.Session: it asks which namespaces the key opens.
func (c *client) Ping(ctx context.Context) error {
	return c.call(ctx, "use the key", func(w *whisk.Client) error {
		_, _, err := w.Namespaces.List()
		return err
	})
}

// Close implements services.Session.
func (c *client) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}
