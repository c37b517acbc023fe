package openwhisk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/functions/sandbox"
)

// runner stands in for the sandbox where the API's own behaviour is tested: code
// is the name of what it does, and of the calls it remembers what they were.
type runner struct {
	mu        sync.Mutex
	calls     []sandbox.Call
	forgotten []string
	prepared  []string
	hold      chan struct{} // what code "wait" waits for
	running   int
}

func newRunner() *runner { return &runner{hold: make(chan struct{})} }

// Prepare implements openwhisk.Runner: code that begins with "invalid" is none.
func (r *runner) Prepare(ctx context.Context, code sandbox.Code) error {
	raw, err := code.Load(ctx)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(raw), "invalid") {
		return &sandbox.CodeError{Reason: "it is no module"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prepared = append(r.prepared, code.Hash)
	return nil
}

// Forget implements openwhisk.Runner.
func (r *runner) Forget(hash string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgotten = append(r.forgotten, hash)
	return nil
}

// Run implements openwhisk.Runner.
func (r *runner) Run(ctx context.Context, call sandbox.Call) (sandbox.Outcome, error) {
	raw, err := call.Code.Load(ctx)
	if err != nil {
		return sandbox.Outcome{}, err
	}
	r.mu.Lock()
	r.calls = append(r.calls, call)
	r.running++
	r.mu.Unlock()
	defer func() { r.mu.Lock(); r.running--; r.mu.Unlock() }()
	o := sandbox.Outcome{Status: sandbox.Success, Result: call.Input, Duration: 2 * time.Millisecond, Wait: time.Millisecond}
	verb, argument, _ := strings.Cut(string(raw), " ")
	switch verb {
	case "echo":
	case "env":
		o.Result, err = json.Marshal(call.Env)
	case "answer":
		o.Result = json.RawMessage(argument)
	case "fail":
		o.Status, o.Result = sandbox.ApplicationError, json.RawMessage(argument)
	case "crash":
		o.Status, o.Result = sandbox.DeveloperError, json.RawMessage(`{"error":"it crashed"}`)
	case "lose":
		o.Status, o.Result = sandbox.InternalError, json.RawMessage(`{"error":"the worker died"}`)
	case "break":
		return o, errors.New("the pool is broken")
	case "log":
		at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		o.Logs, o.Cold, o.Init = []sandbox.LogLine{{Time: at, Stream: "stdout", Text: "one"}, {Time: at, Stream: "stderr", Text: "two"}}, true, 7*time.Millisecond
	case "wait":
		select {
		case <-r.hold:
		case <-ctx.Done():
			return o, ctx.Err()
		}
	case "add":
		var in struct{ N int }
		err = json.Unmarshal(call.Input, &in)
		o.Result = json.RawMessage(`{"n":` + string(rune('0'+in.N+1)) + `}`)
	case "cgi":
		o.Result, o.Output = nil, bytes.ReplaceAll([]byte(argument), []byte(`\n`), []byte("\n"))
	default:
		return o, errors.New("unknown code " + verb)
	}
	return o, err
}

func (r *runner) last() sandbox.Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[len(r.calls)-1]
}

func (r *runner) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls)
}
