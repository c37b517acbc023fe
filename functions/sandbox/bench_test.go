package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// BenchmarkDirect is the call of the other benchmarks without a pool: wazero
// alone, as a program would use it that trusts the code.
func BenchmarkDirect(b *testing.B) {
	content, err := guestCode(b, "guest").Load(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	runtime := wazero.NewRuntime(b.Context())
	b.Cleanup(func() { must(b, runtime.Close(context.Background())) })
	wasi_snapshot_preview1.MustInstantiate(b.Context(), runtime)
	module, err := runtime.CompileModule(b.Context(), content)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var out bytes.Buffer
		config := wazero.NewModuleConfig().WithName("").WithStdin(bytes.NewReader(echo)).WithStdout(&out)
		instance, err := runtime.InstantiateModule(b.Context(), module, config)
		if err != nil || out.String() != "{\"a\":1}\n" {
			b.Fatalf("%q, %v", out.String(), err)
		}
		must(b, instance.Close(b.Context()))
	}
}

// BenchmarkGuest is what a worker does for one call, without the way to it.
func BenchmarkGuest(b *testing.B) {
	code := guestCode(b, "guest")
	p := open(b)
	must(b, p.Prepare(b.Context(), code))
	modules := newModules(p.store, 1<<30)
	shared := &budget{limit: 1 << 40}
	for b.Loop() {
		module, _, err := modules.acquire(b.Context(), code.Hash, WASM)
		must(b, err)
		g := &guest{call: Call{Code: code, Limits: defaultLimits(), Input: echo}, module: module}
		if o := g.run(b.Context(), shared); o.Status != Success || string(o.Result) != `{"a":1}` {
			b.Fatalf("%s: %s", o.Status, o.Result)
		}
		modules.release(module)
	}
}

var echo = []byte(`{"do": "echo", "value": {"a": 1}}`)

func BenchmarkWarm(b *testing.B) {
	for name, code := range map[string]Code{"go": guestCode(b, "guest"), "javascript": script(`function main(p) { return p.value }`)} {
		for _, clients := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", name, clients), func(b *testing.B) {
				p := open(b)
				warmUp(b, p, code)
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var all sync.WaitGroup
				for range clients {
					all.Go(func() {
						for left.Add(-1) >= 0 {
							once(b, p, code)
						}
					})
				}
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			})
		}
	}
}

// warmUp has every worker load code.
func warmUp(b *testing.B, p *Pool, code Code) {
	var all sync.WaitGroup
	for range 8 * p.options.Workers {
		all.Go(func() { once(b, p, code) })
	}
	all.Wait()
}

func once(b *testing.B, p *Pool, code Code) Outcome {
	o, err := p.Run(b.Context(), Call{Code: code, Input: echo, Limits: defaultLimits()})
	if err != nil || o.Status != Success || string(o.Result) != `{"a":1}` {
		b.Errorf("%v, %s: %s", err, o.Status, o.Result)
	}
	return o
}

// BenchmarkConcurrent has 1000 calls at once, each of which waits for two
// seconds, and tells how much memory the workers hold for one.
func BenchmarkConcurrent(b *testing.B) {
	for name, test := range map[string]struct {
		code  Code
		input string
	}{
		"go":         {guestCode(b, "guest"), `{"do": "sleep", "count": 2000}`},
		"javascript": {script(`function main() { return new Promise((d) => setTimeout(() => d({}), 2000)) }`), `{}`},
	} {
		b.Run(name, func(b *testing.B) {
			p := open(b)
			warmUp(b, p, script(`function main(p) { return p.value }`))
			before := held(b, p)
			var most int64
			for b.Loop() {
				var all sync.WaitGroup
				var ended atomic.Int64
				const calls = 1000
				for range calls {
					all.Go(func() {
						defer ended.Add(1)
						o, err := p.Run(b.Context(), Call{Code: test.code, Input: []byte(test.input), Limits: defaultLimits()})
						if err != nil || o.Status != Success {
							b.Errorf("%v, %s: %s", err, o.Status, o.Result)
						}
					})
				}
				for ended.Load() < calls {
					most = max(most, held(b, p))
					time.Sleep(20 * time.Millisecond)
				}
				all.Wait()
				b.ReportMetric(float64(most-before)/calls/1024, "kB/call")
			}
			b.ReportMetric(float64(held(b, p))/(1<<20), "MB-afterwards")
		})
	}
}

// held is how much memory all workers hold.
func held(b *testing.B, p *Pool) int64 {
	var total int64
	for _, pid := range pids(p) {
		one, err := residentIn(fmt.Sprintf("/proc/%d/statm", pid))
		must(b, err)
		total += one
	}
	return total
}

// BenchmarkCold is the first call of code that is compiled on disk, beside the
// second.
func BenchmarkCold(b *testing.B) {
	for name, code := range map[string]Code{"go": guestCode(b, "guest"), "javascript": script(`function main(p) { return p.value }`)} {
		b.Run(name, func(b *testing.B) {
			var cold, warm time.Duration
			for b.Loop() {
				b.StopTimer()
				p := open(b, func(o *Options) { o.Workers = 1 })
				once(b, p, script(`function main(p) { return {a: 1} }`)) // the worker has started
				b.StartTimer()
				from := time.Now()
				if o := once(b, p, code); !o.Cold {
					b.Error("it was warm")
				}
				cold += time.Since(from)
				b.StopTimer()
				from = time.Now()
				once(b, p, code)
				warm += time.Since(from)
				must(b, p.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(warm.Microseconds())/1000/float64(b.N), "warm-ms")
			b.ReportMetric(cold.Seconds()/warm.Seconds(), "cold/warm")
		})
	}
}
