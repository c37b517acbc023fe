package osb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// exchange is a request as the verbs read it, its answer, and what the log says about it.
type exchange struct {
	http.ResponseWriter
	started     time.Time
	route       string
	vars        map[string]string // of the route's pattern, percent-encoded
	requestID   string
	platform    string
	originating json.RawMessage
	instanceID  string
	bindingID   string

	query url.Values
	async bool    // the client accepts 202
	body  *fields // of a PUT or PATCH

	code    int    // of the answer; 0 until it begins
	cause   error  // of a 5xx, for the log
	refusal string // the description of a 4xx, fit for the log
}

func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{ResponseWriter: w, started: time.Now(), route: "unknown", requestID: requestIdentity(r)}
	w.Header()[requestIdentityHeader] = []string{x.requestID}
	return x
}

// WriteHeader records the status.
func (x *exchange) WriteHeader(code int) {
	x.code = code
	x.ResponseWriter.WriteHeader(code)
}

// json writes an answer. Its body may hold credentials, so nobody may store it.
func (x *exchange) json(code int, body any) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // a URI's & stays readable for people
	if err := enc.Encode(body); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h := x.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	h.Set("Cache-Control", "no-store")
	x.WriteHeader(code)
	_, _ = x.Write(out.Bytes()) // fails if the client has disconnected
	return nil
}

// statusClientGone is logged and observed if the client disconnected before its answer:
// nobody received it, and the broker did not fail.
const statusClientGone = 499

// finish turns a panic into an answer, logs the exchange and reports it.
func (a *api) finish(x *exchange, r *http.Request) {
	panicked := recover()
	begun := x.code != 0
	if panicked != nil {
		// The value may quote what must not be logged; the stack does not.
		cause := fmt.Errorf("panic with a %T, see the stack", panicked)
		a.Logger.ErrorContext(r.Context(), "request panicked",
			"request_id", x.requestID, "error", cause.Error(), "stack", string(debug.Stack()))
		if x.cause = cause; !begun {
			x.refuse(r, cause)
		}
	}
	took := time.Since(x.started)
	if x.code >= http.StatusInternalServerError && isClientGone(r.Context()) && panicked == nil {
		x.code = statusClientGone
	}
	a.log(x, r, took)
	x.trace(r)
	if a.Observe != nil {
		a.Observe(x.route, boundedMethod(r.Method), x.code, took)
	}
	if panicked != nil && begun {
		panic(http.ErrAbortHandler) // half an answer was sent: only cutting the connection tells the client
	}
}

// trace describes the request in its span, if there is one.
func (x *exchange) trace(r *http.Request) {
	span := trace.SpanFromContext(r.Context())
	if !span.IsRecording() {
		return
	}
	span.SetName(boundedMethod(r.Method) + " " + x.route)
	span.SetAttributes(
		attribute.String("http.route", x.route),
		attribute.String("chandler.request.id", x.requestID),
		attribute.String("chandler.platform", x.platform),
		attribute.String("chandler.instance.id", x.instanceID),
		attribute.String("chandler.binding.id", x.bindingID))
}

// logLevel keeps requests that change nothing out of the log: they are many, and the
// metrics count them.
func logLevel(x *exchange, r *http.Request) slog.Level {
	switch {
	case x.code == statusClientGone:
		return slog.LevelInfo
	case x.code >= http.StatusInternalServerError || x.cause != nil:
		return slog.LevelError
	case x.code < http.StatusBadRequest && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (a *api) log(x *exchange, r *http.Request, took time.Duration) {
	level := logLevel(x, r)
	if !a.Logger.Enabled(r.Context(), level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 10),
		slog.String("route", x.route),
		slog.String("method", r.Method),
		slog.Int("code", x.code),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("request_id", x.requestID),
		slog.String("platform", x.platform))
	for _, optional := range []slog.Attr{
		slog.String("instance_id", x.instanceID), slog.String("binding_id", x.bindingID), slog.String("description", x.refusal),
	} {
		if optional.Value.String() != "" {
			attrs = append(attrs, optional)
		}
	}
	if x.cause != nil {
		attrs = append(attrs, slog.String("error", x.cause.Error()))
	}
	a.Logger.LogAttrs(r.Context(), level, "request answered", attrs...)
}

func boundedMethod(method string) string {
	switch method {
	case "GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS":
		return method
	}
	return "other"
}
