package osbclient

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// largestAnswer limits the length of an answer; a catalog has some kilobytes.
const largestAnswer = 16 << 20

// Request is any request to the broker, such as one that violates the protocol.
type Request struct {
	Method string
	// Path begins with a slash, its segments escaped; see PathSegment.
	Path  string
	Query url.Values
	// Body is sent as it is if it is a []byte, and otherwise as JSON; nil: no body.
	Body any
	// Header replaces keys of the client's own header, or removes those that have no
	// value here.
	Header http.Header
}

// Response is the broker's answer.
type Response struct {
	Status int         `json:"-"`
	Header http.Header `json:"-"`
	Body   []byte      `json:"-"`
}

// Accepted says whether the work continues (202), so that the platform has to poll.
func (r Response) Accepted() bool { return r.Status == http.StatusAccepted }

// Error is an answer other than success (OSB 2.17, "Service Broker Errors").
type Error struct {
	Response `json:"-"`
	// Code is the field "error", such as AsyncRequired; often empty.
	Code        string `json:"error"`
	Description string `json:"description"`
	// InstanceUsable and UpdateRepeatable are nil if the broker omits them.
	InstanceUsable   *bool `json:"instance_usable"`
	UpdateRepeatable *bool `json:"update_repeatable"`
}

// Error returns the status and the broker's description.
func (e *Error) Error() string {
	text := fmt.Sprintf("the broker answered %d %s", e.Status, http.StatusText(e.Status))
	for _, more := range []string{e.Code, e.Description} {
		if more != "" {
			text += ": " + more
		}
	}
	return text
}

// Do sends a request and returns the answer, whatever its status. An error means that the
// broker did not answer.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	request, err := c.request(ctx, r)
	if err != nil {
		return Response{}, err
	}
	answer, err := c.options.HTTP.Do(request)
	if err != nil {
		return Response{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, largestAnswer+1))
	if err != nil {
		return Response{}, fmt.Errorf("read the broker's answer: %w", err)
	}
	if len(body) > largestAnswer {
		return Response{}, fmt.Errorf("the broker's answer has more than %d bytes", largestAnswer)
	}
	return Response{Status: answer.StatusCode, Header: answer.Header, Body: body}, nil
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	body, err := encode(r.Body)
	if err != nil {
		return nil, err
	}
	address := c.options.URL + r.Path
	if len(r.Query) > 0 {
		address += "?" + r.Query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, address, body)
	if err != nil {
		return nil, err
	}
	c.authorize(request)
	request.Header.Set("X-Broker-API-Version", c.options.Version)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.originating != "" {
		request.Header.Set("X-Broker-API-Originating-Identity", c.originating)
	}
	if c.options.RequestIdentity != nil {
		request.Header.Set("X-Broker-API-Request-Identity", c.options.RequestIdentity())
	}
	for key, values := range r.Header {
		request.Header[http.CanonicalHeaderKey(key)] = slices.Clone(values)
	}
	return request, nil
}

// encode returns a nil interface for no body: net/http tells it from an empty
// one.
func encode(body any) (io.Reader, error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case []byte:
		return bytes.NewReader(b), nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return bytes.NewReader(text), nil
}

// answered is a pointer to T, an answer that embeds Response.
type answered[T any] interface {
	*T
	response() *Response
}

func (r *Response) response() *Response { return r }

// call sends a request and decodes a success into a T, and anything else into an *Error.
// The Response is set in both cases.
func call[T any, P answered[T]](ctx context.Context, c *Client, r Request) (T, error) {
	var answer T
	response, err := c.Do(ctx, r)
	*P(&answer).response() = response
	if err != nil {
		return answer, err
	}
	if response.Status < 200 || response.Status > 299 {
		failure := &Error{}
		if json.Unmarshal(response.Body, failure) != nil {
			failure = &Error{} // a proxy's page, for example; the Response has it
		}
		failure.Response = response
		return answer, failure
	}
	if err := json.Unmarshal(response.Body, &answer); err != nil {
		return answer, fmt.Errorf("the broker answered %d with a body that violates the protocol: %w", response.Status, err)
	}
	return answer, nil
}

// PathSegment escapes an ID for a path. Dots alone would be another path.
func PathSegment(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	return url.PathEscape(id)
}

func instancePath(instanceID string) string {
	return "/v2/service_instances/" + PathSegment(instanceID)
}

func bindingPath(instanceID, bindingID string) string {
	return instancePath(instanceID) + "/service_bindings/" + PathSegment(bindingID)
}

// query makes a query of pairs of a name and a value, without empty values.
func query(pairs ...string) url.Values {
	q := make(url.Values)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// flag is the value of a query's flag.
func flag(set bool) string {
	if set {
		return "true"
	}
	return ""
}

// header returns the value of X-Broker-API-Originating-Identity.
func (i Identity) header() (string, error) {
	value, err := json.Marshal(i.Value)
	if err != nil || !bytes.HasPrefix(value, []byte("{")) || i.Platform == "" || strings.ContainsAny(i.Platform, " \r\n") {
		return "", errors.New("an originating identity is the platform's name, in one word, and a JSON object")
	}
	return i.Platform + " " + base64.StdEncoding.EncodeToString(value), nil
}
