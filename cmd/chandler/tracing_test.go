package main

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// spans is a collector of OTLP over HTTP.
type spans struct {
	mu    sync.Mutex
	found []*traces.Span
	text  string
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		in = unzipped
	}
	body, err := io.ReadAll(in)
	var export collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(body, &export) != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text += protojson.Format(&export)
	for _, resource := range export.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			s.found = append(s.found, scope.GetSpans()...)
		}
	}
}

// in returns the names of a trace's spans and who is whose child, as "parent >
// child".
func (s *spans) in(trace string) (names, edges []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byID := map[string]string{}
	for _, span := range s.found {
		if hex.EncodeToString(span.GetTraceId()) == trace {
			byID[string(span.GetSpanId())] = span.GetName()
			names = append(names, span.GetName())
		}
	}
	for _, span := range s.found {
		if parent, ok := byID[string(span.GetParentSpanId())]; ok {
			edges = append(edges, parent+" > "+span.GetName())
		}
	}
	slices.Sort(names)
	slices.Sort(edges)
	return names, slices.Compact(edges)
}

// traceparent makes every request part of one trace, as a client that traces does.
type traceparent string

func (t traceparent) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Traceparent", string(t))
	return http.DefaultTransport.RoundTrip(r)
}

const tracedCatalog = `
backends:
  postgres: {type: database/postgres, config: {url: "${ADMIN_URL}"}}
services:
  - id: 5ac8a5b2-06d5-4a5c-9a9a-77c3b8a9f8f1
    name: database
    description: databases
    bindable: true
    plans:
      - {id: 7de0c9e1-0a5e-4c5f-8d3a-60c9ad43f5b6, name: small, description: a database, backend: postgres}
`

// serving starts the broker as serve does and returns its address and log; stop
// ends it.
func serving(t *testing.T, environment map[string]string) (address string, log *lines, stop func()) {
	t.Helper()
	s, err := readSettings(lookupIn(maps.Clone(environment)))
	if err != nil {
		t.Fatal(err)
	}
	s.Variables = server.NewVariables(s.Settings)
	log = &lines{}
	logger, err := newLogger("json", slog.LevelDebug, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b, err := server.Open(ctx, s.Settings, logger, server.Needs{Migrate: true, Credentials: true})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- b.Serve(ctx, func(at net.Addr) { ready <- at.String() }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		b.Close()
	})
	t.Cleanup(stop)
	select {
	case address = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	return address, log, stop
}

// One request can be followed through the operation, the backend and the
// credential store, in the spans and in the log; neither tells a secret.
func TestTraces(t *testing.T) {
	sink := &spans{}
	collect := httptest.NewServer(sink)
	defer collect.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collect.URL) // the exporter reads the process's own
	catalogFile := filepath.Join(t.TempDir(), "catalog.yml")
	if err := os.WriteFile(catalogFile, []byte(tracedCatalog), 0o600); err != nil {
		t.Fatal(err)
	}
	profiles := freeAddress(t)
	address, log, stop := serving(t, map[string]string{
		"DATABASE_URL": embeddedtest.Database(t), "ADMIN_URL": embeddedtest.Database(t), "CHANDLER_CATALOG": catalogFile,
		"CHANDLER_LISTEN": "127.0.0.1:0", "CHANDLER_USERNAME": "platform", "CHANDLER_PASSWORD": "the platform's password",
		"CHANDLER_SEALED_KEY":         "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		"OTEL_EXPORTER_OTLP_ENDPOINT": collect.URL, "CHANDLER_PROFILE_LISTEN": profiles,
	})
	if status, body := get(t, "http://"+profiles+"/debug/pprof/goroutine?debug=1"); status != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("profiles: %d %.100s", status, body)
	}
	trace := "0af7651916cd43dd8448eb211c80319c"
	client, err := osbclient.New(osbclient.Options{
		URL: "http://" + address, Username: "platform", Password: "the platform's password",
		HTTP: &http.Client{Transport: traceparent("00-" + trace + "-b7ad6b7169203331-01")},
	})
	if err != nil {
		t.Fatal(err)
	}
	service, plan := "5ac8a5b2-06d5-4a5c-9a9a-77c3b8a9f8f1", "7de0c9e1-0a5e-4c5f-8d3a-60c9ad43f5b6"
	const instance, binding = "d0b3e4b6-traced", "b1d6-traced"
	if _, err := client.Provision(t.Context(), instance, osbclient.ProvisionRequest{
		ServiceID: service, PlanID: plan, OrganizationGUID: "an organization", SpaceGUID: "a space",
	}); err != nil {
		t.Fatal(err)
	}
	bound, err := client.Bind(t.Context(), instance, binding, osbclient.BindRequest{ServiceID: service, PlanID: plan})
	if err != nil {
		t.Fatal(err)
	}
	// The answer to the first is what was written; to the second, what is stored.
	if _, err := client.Bind(t.Context(), instance, binding, osbclient.BindRequest{ServiceID: service, PlanID: plan}); err != nil {
		t.Fatal(err)
	}
	stop() // what was not sent yet is sent

	names, edges := sink.in(trace)
	put := "PUT /v2/service_instances/{instance_id}"
	for _, want := range []string{
		put + " > operation provision", "operation provision > backend provision",
		put + "/service_bindings/{binding_id} > operation bind", "operation bind > credentials ensure",
		"operation bind > backend bind", "operation bind > credentials put",
		put + "/service_bindings/{binding_id} > credentials get",
	} {
		if !slices.Contains(edges, want) {
			t.Errorf("%q is missing; there are the spans %q with %q", want, names, edges)
		}
	}
	if !strings.Contains(sink.text, `"service.name"`) || !strings.Contains(sink.text, binding) {
		t.Error("spans do not say whose they are")
	}
	if !strings.Contains(log.String(), `"trace_id":"`+trace+`"`) {
		t.Error("the log does not name the trace")
	}
	password, _ := bound.Credentials["password"].(string)
	if password == "" {
		t.Fatalf("no password in %d credentials", len(bound.Credentials))
	}
	for _, secret := range []string{password, "the platform's password"} {
		if strings.Contains(sink.text, secret) || strings.Contains(log.String(), secret) {
			t.Error("spans or the log tell a secret")
		}
	}
}

func TestObservabilityFaults(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must be http://host:port"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "must be http://host:port"},
		{"CHANDLER_PROFILE_LISTEN", ":6060", "not a private address"},
		{"CHANDLER_PROFILE_LISTEN", "0.0.0.0:6060", "not a private address"},
		{"CHANDLER_PROFILE_LISTEN", "8.8.8.8:6060", "not a private address"},
		{"CHANDLER_PROFILE_LISTEN", "127.0.0.1", "an address and a port"},
	} {
		if _, err := readSettings(lookupIn(map[string]string{c.name: c.value})); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want %q", c.name, c.value, err, c.want)
		}
	}
	_, err := readSettings(lookupIn(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}))
	if err == nil || !strings.Contains(err.Error(), "4318") {
		t.Errorf("grpc: %v", err)
	}
	for _, listen := range []string{"127.0.0.1:0", "[::1]:6060", "localhost:6060", "10.0.0.3:6060", ""} {
		if _, err := readSettings(lookupIn(map[string]string{"CHANDLER_PROFILE_LISTEN": listen})); err != nil {
			t.Error(err)
		}
	}
}
