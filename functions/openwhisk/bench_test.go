package openwhisk_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/chandler-broker/chandler/functions/sandbox"
)

// greeted is one action, called in each of the ways that are compared.
type greeted struct {
	code    []byte
	input   string
	sandbox func() error // of the sandbox alone, warm
	http    func() error // blocking, over HTTP
}

func newGreeted(b *testing.B) greeted {
	b.Helper()
	g := greeted{code: guest(b, "greet"), input: `{"greeting":"hello","name":"Ada"}`}
	p := &remembering{Pool: pool(b)}
	s := newServer(b, p)
	unbounded := plan()
	unbounded.InvocationsPerMinute, unbounded.Concurrency = 1<<40, 1<<20
	c := s.tenant("ns", unbounded)
	code := base64.StdEncoding.EncodeToString(g.code)
	c.must(200, "PUT", "actions/a", `{"exec":{"kind":"wasm:default","code":"`+code+`"},"parameters":[{"key":"greeting","value":"hello"}]}`)
	c.must(200, "POST", "actions/a?blocking=true&result=true", `{"name":"Ada"}`)
	call := *p.last.Load()
	g.sandbox = func() error {
		o, err := p.Pool.Run(b.Context(), call)
		if err == nil && o.Status != sandbox.Success {
			err = fmt.Errorf("%s", o.Result)
		}
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	g.http = func() error {
		request, err := http.NewRequestWithContext(b.Context(), "POST", s.url+"/api/v1/namespaces/_/actions/a?blocking=true&result=true", strings.NewReader(`{"name":"Ada"}`))
		if err != nil {
			return err
		}
		request.SetBasicAuth(c.user, c.key)
		response, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 200 {
			return fmt.Errorf("%d %s: %w", response.StatusCode, body, err)
		}
		return nil
	}
	return g
}

// direct is the same call by wazero alone, as a program would use it that trusts
// the code.
func (g greeted) direct(b *testing.B) func() error {
	b.Helper()
	runtime := wazero.NewRuntime(b.Context())
	b.Cleanup(func() { _ = runtime.Close(context.Background()) }) // b's own context has ended
	wasi_snapshot_preview1.MustInstantiate(b.Context(), runtime)
	module, err := runtime.CompileModule(b.Context(), g.code)
	if err != nil {
		b.Fatal(err)
	}
	return func() error {
		var out bytes.Buffer
		config := wazero.NewModuleConfig().WithName("").WithStdin(strings.NewReader(g.input)).WithStdout(&out)
		instance, err := runtime.InstantiateModule(b.Context(), module, config)
		if err != nil {
			return err
		}
		if !strings.Contains(out.String(), "hello Ada") {
			return fmt.Errorf("the action answered %q", out.String())
		}
		return instance.Close(b.Context())
	}
}

// BenchmarkLatency puts a blocking invocation over HTTP beside the same call of the
// sandbox alone and beside wazero's of the same module, in turns, so that what else
// the machine does meets all of them.
func BenchmarkLatency(b *testing.B) {
	g := newGreeted(b)
	ways := []func() error{g.direct(b), g.sandbox, g.http}
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, call := range ways {
			from := time.Now()
			if err := call(); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(from))
		}
	}
	direct, pooled, overHTTP := median(took[0]), median(took[1]), median(took[2])
	b.ReportMetric(direct, "wazero-ms")
	b.ReportMetric(pooled, "sandbox-ms")
	b.ReportMetric(overHTTP, "http-ms")
	b.ReportMetric(overHTTP-direct, "added-ms")
	b.ReportMetric(overHTTP-pooled, "api-ms")
	b.ReportMetric(pooled/direct, "sandbox/wazero")
}

// median is in milliseconds.
func median(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/2].Microseconds()) / 1000
}

// BenchmarkThroughput is calls by several clients at once, over HTTP and of the
// sandbox alone.
func BenchmarkThroughput(b *testing.B) {
	g := newGreeted(b)
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("sandbox/%d", clients), func(b *testing.B) { measure(b, clients, g.sandbox) })
		b.Run(fmt.Sprintf("http/%d", clients), func(b *testing.B) { measure(b, clients, g.http) })
	}
}

// measure runs f b.N times by so many clients, and reports the median and the
// rate.
func measure(b *testing.B, clients int, f func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, clients)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				from := time.Now()
				if err := f(); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(from))
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	b.ReportMetric(median(all), "median-ms")
	b.ReportMetric(float64(len(all))/time.Since(start).Seconds(), "calls/s")
}

// remembering remembers the last call.
type remembering struct {
	*sandbox.Pool
	last atomic.Pointer[sandbox.Call]
}

func (r *remembering) Run(ctx context.Context, call sandbox.Call) (sandbox.Outcome, error) {
	r.last.Store(&call)
	return r.Pool.Run(ctx, call)
}
