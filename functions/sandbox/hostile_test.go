package sandbox

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a guest does to harm others ends with its own activation.
func TestHostileGuests(t *testing.T) {
	p := open(t, func(o *Options) { o.Workers = 1 })
	guest := guestCode(t, "guest")
	const loops = "The action exceeded its time limits of 1000 milliseconds."
	recursion := wasmModule{bodies: [][]byte{body(opCall, 0)}}.code()
	emptyLoop := wasmModule{bodies: [][]byte{body(opLoop, noType, 0x0c, 0, opEnd)}}.code()
	grow := wasmModule{bodies: [][]byte{body(opLoop, noType, opI32Const, 1, opMemoryGrow, 0, opDrop, 0x0c, 0, opEnd)}}.code()
	fibonacci := wasmModule{bodies: [][]byte{body(opCall, 1, opCall, 1)}}
	for i := range 63 { // each function calls the next one twice: 2^63 calls, and no recursion
		fibonacci.bodies = append(fibonacci.bodies, body(opCall, byte(i+2), opCall, byte(i+2)))
	}
	fibonacci.bodies = append(fibonacci.bodies, body())
	fill := wasmModule{memory: []byte{0, 0x80, 0x10}, bodies: [][]byte{body(
		opLoop, noType, opI32Const, 0, opI32Const, 1, opI32Const, 0x80, 0x80, 0x80, 0xc0, 0, opBulk, 11, 0, 0x0c, 0, opEnd)}}.code()
	trap := wasmModule{bodies: [][]byte{body(0)}}.code()
	tables := wasmModule{table: []byte{0, 1}, bodies: [][]byte{body(
		opLoop, noType, opRefNull, 0x70, opI32Const, 1, opBulk, 15, 0, opDrop, 0x0c, 0, opEnd)}}.code()

	tests := map[string]struct {
		code       Code
		parameters fields
		status     Status
		text       string
	}{
		"loops":                      {guest, fields{"do": "loop"}, DeveloperError, loops},
		"sleeps":                     {guest, fields{"do": "sleep", "count": 1e6}, DeveloperError, loops},
		"allocates without end":      {guest, fields{"do": "allocate"}, DeveloperError, textMemory},
		"copies without end":         {guest, fields{"do": "fill"}, DeveloperError, loops},
		"floods its log":             {guest, fields{"do": "flood", "to": "stderr", "text": strings.Repeat("x", 1000) + "\n"}, DeveloperError, loops},
		"floods its output":          {guest, fields{"do": "flood", "to": "stdout", "text": strings.Repeat("x", 1000) + "\n"}, DeveloperError, loops},
		"floods with empty lines":    {guest, fields{"do": "flood", "to": "stdout", "text": strings.Repeat("\n", 4096)}, DeveloperError, loops},
		"exits":                      {guest, fields{"do": "exit", "count": 7}, DeveloperError, "exit code is 7"},
		"panics":                     {guest, fields{"do": "panic"}, DeveloperError, "exit code is 2"},
		"recurses in its own stack":  {guest, fields{"do": "recurse"}, DeveloperError, ""},
		"recurses in the machine's":  {recursion, nil, DeveloperError, "stack overflow"},
		"loops with nothing inside":  {emptyLoop, nil, DeveloperError, loops},
		"calls without end":          {fibonacci.code(), nil, DeveloperError, loops},
		"grows its memory for ever":  {grow, nil, DeveloperError, loops},
		"fills its memory for ever":  {fill, nil, DeveloperError, loops},
		"grows its table for ever":   {tables, nil, DeveloperError, loops},
		"traps":                      {trap, nil, DeveloperError, "unreachable"},
		"opens many files":           {guest, fields{"do": "openmany", "path": "/data", "count": 100000}, Success, ""},
		"wants more than there is":   {wasmModule{memory: []byte{0, 0x80, 0x40}, bodies: [][]byte{body()}}.code(), nil, DeveloperError, textMemory},
		"waits for what never comes": {guest, fields{"do": "select"}, DeveloperError, ""},
	}
	for _, test := range tests {
		if err := p.Prepare(t.Context(), test.code); err != nil {
			t.Fatal(err)
		}
	}
	run(t, p, guest, fields{"do": "echo"})
	before := residentOf(t, p)
	const memory, allowed = 128 << 20, (128 + 150 + 50) << 20
	stop := neighbours(t, p, guest)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			data := mountOf(t, t.TempDir(), "/data", false)
			from := before
			if !raceDetector {
				from = settledResident(t, p, before+50<<20) // without what the last one left
			}
			peak := watchResident(t, p)
			o := run(t, p, test.code, test.parameters, func(c *Call) {
				if test.text == loops { // the others end by themselves
					c.Limits.Timeout = time.Second
				}
				c.Limits.Memory = memory
				c.Mounts = []Mount{data}
			})
			if text, _ := member(t, o, "error").(string); o.Status != test.status || !strings.Contains(text, test.text) {
				t.Errorf("%s: %.300s; want %s, %q; log %.300v", o.Status, o.Result, test.status, test.text, o.Logs)
			}
			if o.Duration > 20*time.Second {
				t.Errorf("it ran for %v", o.Duration)
			}
			// The memory of the call, the stack of a recursion, and the neighbour.
			if most := peak(); most > from+allowed && !raceDetector {
				t.Errorf("the worker held %d MB before, and %d MB meanwhile", from>>20, most>>20)
			} else {
				t.Logf("the worker held %d MB before, and up to %d MB meanwhile", from>>20, most>>20)
			}
		})
	}
	stop()
	if raceDetector {
		return
	}
	if now := settledResident(t, p, before+150<<20); now > before+150<<20 {
		t.Errorf("the worker held %d MB before, and %d MB afterwards", before>>20, now>>20)
	} else {
		t.Logf("the worker held %d MB before, and %d MB afterwards", before>>20, now>>20)
	}
}

// neighbours calls code again and again, all of which must succeed, until stop.
func neighbours(t *testing.T, p *Pool, code Code) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	calls := 0
	all.Go(func() {
		for ctx.Err() == nil {
			o, err := p.Run(t.Context(), Call{Code: code, Input: []byte(`{"do":"echo","value":{"a":1}}`), Limits: defaultLimits()})
			if err != nil || o.Status != Success || string(o.Result) != `{"a":1}` {
				t.Errorf("neighbour: %v, %s, %s", err, o.Status, o.Result)
			}
			calls++
		}
	})
	return func() {
		cancel()
		all.Wait()
		if calls < 3 {
			t.Errorf("the neighbour had only %d calls", calls)
		}
		t.Logf("%d calls of the neighbour", calls)
	}
}

// workerPID is the process of the pool's one worker.
func workerPID(t testing.TB, p *Pool) int {
	t.Helper()
	workers := p.workers()
	if len(workers) != 1 {
		t.Fatalf("%d workers", len(workers))
	}
	return workers[0].child.Pid
}

// residentOf is how much memory the pool's one worker holds.
func residentOf(t testing.TB, p *Pool) int64 {
	t.Helper()
	held, err := residentIn(fmt.Sprintf("/proc/%d/statm", workerPID(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// settledResident waits until the worker holds less than most, for a while: the
// garbage collector needs time.
func settledResident(t testing.TB, p *Pool, most int64) int64 {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	held := residentOf(t, p)
	for held > most && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
		held = residentOf(t, p)
	}
	return held
}

// watchResident looks at how much memory the pool's one worker holds, until peak is
// called, which says the most of it.
func watchResident(t testing.TB, p *Pool) (peak func() int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	most := residentOf(t, p)
	watching.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
			if held, err := residentIn(fmt.Sprintf("/proc/%d/statm", p.workers()[0].child.Pid)); err == nil {
				most = max(most, held)
			}
		}
	})
	return func() int64 {
		cancel()
		watching.Wait()
		return most
	}
}

// TestMemoryComesBack lets calls take all they may.
func TestMemoryComesBack(t *testing.T) {
	p := open(t, func(o *Options) { o.Workers = 1 })
	guest := guestCode(t, "guest")
	run(t, p, guest, fields{"do": "echo"})
	before := residentOf(t, p)
	done := make(chan Outcome)
	go func() {
		done <- run(t, p, guest, fields{"do": "allocate", "bytes": 400 << 20, "count": 3000}, func(c *Call) { c.Limits.Memory = 512 << 20 })
	}()
	deadline := time.Now().Add(time.Minute)
	during := residentOf(t, p)
	for during < before+350<<20 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
		during = max(during, residentOf(t, p))
	}
	if o := <-done; o.Status != Success || during < before+350<<20 {
		t.Errorf("%s: %s; the worker held %d MB", o.Status, o.Result, during>>20)
	}
	// At once, without waiting for the garbage collector.
	if after := residentOf(t, p); after > before+50<<20 {
		t.Errorf("the worker held %d MB before, %d MB meanwhile, and %d MB afterwards", before>>20, during>>20, after>>20)
	}
}

// TestCrowd lets calls want more memory than the worker has.
func TestCrowd(t *testing.T) {
	p := open(t, func(o *Options) { o.Workers, o.Memory = 1, 300<<20 })
	guest := guestCode(t, "guest")
	run(t, p, guest, fields{"do": "echo"})
	stop := neighbours(t, p, guest)
	var all sync.WaitGroup
	outcomes := make([]Outcome, 8)
	for i := range outcomes {
		all.Go(func() {
			outcomes[i] = run(t, p, guest, fields{"do": "allocate", "bytes": 100 << 20, "count": 2000}, func(c *Call) { c.Limits.Memory = 256 << 20 })
		})
	}
	all.Wait()
	stop()
	crowded := 0
	for _, o := range outcomes {
		if o.Status == InternalError && strings.Contains(string(o.Result), "no memory left") {
			crowded++
		} else if o.Status != Success {
			t.Errorf("%s: %s", o.Status, o.Result)
		}
	}
	if crowded == 0 {
		t.Error("all got memory that does not exist")
	}
	t.Logf("%d of %d were refused memory", crowded, len(outcomes))
	if o := run(t, p, guest, fields{"do": "allocate", "bytes": 100 << 20}); o.Status != Success {
		t.Errorf("afterwards: %s: %s", o.Status, o.Result)
	}
}
