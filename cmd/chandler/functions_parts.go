package main

// What the functions' runtime has in common with package server, until it is a program
// of its own.

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// part is one thing that the broker works with, and how it is.
type part struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// readiness is the answer of /readyz. A broker without one of its backends is
// ready: a balancer that took it away would take all others with it.
type readiness struct {
	Ready bool   `json:"ready"`
	Parts []part `json:"parts,omitempty"`
}

// readyTime is how long the parts may take to say how they are.
const readyTime = 3 * time.Second

// check asks one part how it is.
type check struct {
	name string
	ask  func(context.Context) error
	// spared says that the broker is ready without it.
	spared bool
}

// probeEvery is how old an answer of /readyz may be, beside the time that the parts
// take to answer.
const probeEvery = 2 * time.Second

// prober checks the parts in the background: a request to /readyz, which anybody may
// send, gets the latest result and causes no work. Nothing is ready before the first
// check.
type prober struct {
	checks  []check
	pending []chan error // of parts that have not answered yet, by check

	mu     sync.Mutex
	latest readiness
}

// watch asks once before it returns, and then until ctx ends.
func (p *prober) watch(ctx context.Context, checks []check) {
	p.checks, p.pending = checks, make([]chan error, len(checks))
	p.ask(ctx)
	go func() {
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.ask(ctx)
			}
		}
	}()
}

// readiness is the latest result.
func (p *prober) readiness() readiness {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

// ask asks all parts at once and waits readyTime at most: a client library may wait
// for a server that hangs without looking at ctx. Such a part is asked again when
// it has answered.
func (p *prober) ask(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for i, c := range p.checks {
		if p.pending[i] != nil {
			continue
		}
		answer := make(chan error, 1)
		p.pending[i] = answer
		go func() { answer <- c.ask(limited) }()
	}
	r := readiness{Ready: true, Parts: make([]part, len(p.checks))}
	for i, c := range p.checks {
		err, answered := answerOf(limited, p.pending[i])
		if answered {
			p.pending[i] = nil
		}
		r.Parts[i] = part{Name: c.name, Ready: err == nil}
		if err != nil {
			r.Ready = r.Ready && c.spared
			r.Parts[i].Reason = err.Error()
		}
	}
	if ctx.Err() != nil {
		return // the broker ends; the parts are not to blame
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = r
}

// errNoAnswer is what is wrong with a part that hangs.
var errNoAnswer = errors.New("does not answer in time")

// answerOf prefers an answer that is there to the end of ctx, which may have
// come while another part was waited for.
func answerOf(ctx context.Context, answer <-chan error) (err error, answered bool) { //nolint:revive // the part's error, not the call's
	select {
	case err := <-answer:
		return err, true
	case <-ctx.Done():
	}
	select {
	case err := <-answer:
		return err, true
	default:
		return errNoAnswer, false
	}
}

func writeReady(w http.ResponseWriter, r readiness) {
	w.Header().Set("Content-Type", "application/json")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r)
}

// expiresSoon is how long before a certificate expires the log begins to warn, at the
// start and then every certificatesEvery.
const (
	expiresSoon       = 30 * 24 * time.Hour
	certificatesEvery = 24 * time.Hour
)

// usedCertificates are certificates that this program uses, with their purpose and
// location. They are read again each time, because files are replaced.
type usedCertificates struct {
	use  string
	file string
	text string // PEM; where there is no file
}

// ends returns when the certificates end, by their subjects. Of several with one
// subject, such as an authority and its successor, the last counts: they are
// kept side by side so that the first may expire. What cannot be read is left out:
// its user reports that.
func (u usedCertificates) ends() map[string]time.Time {
	text := []byte(u.text)
	if u.file != "" {
		text, _ = os.ReadFile(u.file)
	}
	ends := map[string]time.Time{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if subject := c.Subject.String(); c.NotAfter.After(ends[subject]) {
			ends[subject] = c.NotAfter
		}
	}
	return ends
}

// certificateCollector reports at each scrape when certificates expire.
type certificateCollector struct {
	name string // of the metric
	used func() []usedCertificates
}

func (c certificateCollector) desc() *prometheus.Desc {
	return prometheus.NewDesc(c.name, "When a certificate in use ends, in seconds since 1970, by what it is used for and its subject.", []string{"use", "subject"}, nil)
}

// Describe implements prometheus.Collector.
func (c certificateCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc() }

// Collect implements prometheus.Collector.
func (c certificateCollector) Collect(out chan<- prometheus.Metric) {
	last := map[[2]string]time.Time{}
	for _, u := range c.used() {
		for subject, end := range u.ends() {
			if series := [2]string{u.use, subject}; last[series].IsZero() || end.Before(last[series]) {
				last[series] = end
			}
		}
	}
	for series, end := range last {
		out <- prometheus.MustNewConstMetric(c.desc(), prometheus.GaugeValue, float64(end.Unix()), series[0], series[1])
	}
}

// watchCertificates logs certificates that expire soon or have expired, until ctx
// ends.
func watchCertificates(ctx context.Context, used func() []usedCertificates, log *slog.Logger) {
	tick := time.NewTicker(certificatesEvery)
	defer tick.Stop()
	for {
		warnOfCertificates(ctx, used(), log)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func warnOfCertificates(ctx context.Context, used []usedCertificates, log *slog.Logger) {
	for _, u := range used {
		for subject, end := range u.ends() {
			attributes := []any{"use", u.use, "file", u.file, "subject", subject, "not_after", end.UTC()}
			switch left := time.Until(end); {
			case left <= 0:
				log.ErrorContext(ctx, "certificate has expired", attributes...)
			case left < expiresSoon:
				log.WarnContext(ctx, "certificate expires soon", attributes...)
			}
		}
	}
}

// startTracing sends the process's spans to the endpoint until stop, which sends
// what is left for a moment.
func startTracing(ctx context.Context, endpoint, service string, log *slog.Logger) (stop func(), err error) {
	if endpoint == "" {
		return func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, usagef("send spans to OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", service),
		attribute.String("service.version", version()),
		attribute.String("service.instance.id", uuid.NewString()),
	), resource.WithHost(), resource.WithFromEnv()) // the environment wins
	if err != nil {
		return nil, usagef("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider)
	otel.SetErrorHandler(&spanFaults{log: log})
	return func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := provider.Shutdown(limited); err != nil {
			log.WarnContext(limited, "the last spans could not be sent", "error", err.Error())
		}
	}, nil
}

// spanFaults logs that spans cannot be sent, once a minute at most: they are sent
// every few seconds.
type spanFaults struct {
	log  *slog.Logger
	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (f *spanFaults) Handle(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.last) < time.Minute {
		return
	}
	f.last = time.Now()
	f.log.Warn("spans could not be sent", "error", err.Error())
}

// tracedHandler begins a span for each request, which goes on from the client's
// (W3C Trace Context). Who serves it gives it its name.
func tracedHandler(endpoint string, next http.Handler) http.Handler {
	if endpoint == "" {
		return next
	}
	return otelhttp.NewHandler(next, "request", otelhttp.WithPropagators(propagation.TraceContext{}))
}

// serveProfiles serves /debug/pprof/ at listen until ctx ends; nothing where
// listen is empty. 'go tool pprof' reads them.
func serveProfiles(ctx context.Context, listen string, log *slog.Logger) error {
	if listen == "" {
		return nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("CHANDLER_PROFILE_LISTEN: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	log.InfoContext(ctx, "serving profiles", "address", listener.Addr().String())
	return nil
}
