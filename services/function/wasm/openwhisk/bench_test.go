package openwhisk_test

import (
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

	"github.com/chandler-broker/chandler/services/function/wasm/sandbox"
)

// BenchmarkInvoke compares a blocking invocation over HTTP with the same call of
// the sandbox alone, warm: what lies between is the API.
func BenchmarkInvoke(b *testing.B) {
	p := &remembering{Pool: pool(b)}
	s := newServer(b, p)
	unbounded := plan()
	unbounded.InvocationsPerMinute, unbounded.Concurrency = 1<<40, 1<<20
	c := s.tenant("ns", unbounded)
	code := base64.StdEncoding.EncodeToString(guest(b, "greet"))
	c.must(200, "PUT", "actions/a", `{"exec":{"kind":"wasm:default","code":"`+code+`"},"parameters":[{"key":"greeting","value":"hello"}]}`)
	c.must(200, "POST", "actions/a?blocking=true&result=true", `{"name":"Ada"}`)
	call := *p.last.Load()
	direct := func() error {
		o, err := p.Pool.Run(b.Context(), call)
		if err == nil && o.Status != sandbox.Success {
			err = fmt.Errorf("%s", o.Result)
		}
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	overHTTP := func() error {
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
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("sandbox/%d", clients), func(b *testing.B) { measure(b, clients, direct) })
		b.Run(fmt.Sprintf("http/%d", clients), func(b *testing.B) { measure(b, clients, overHTTP) })
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
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "median-ms")
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
