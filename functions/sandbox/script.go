package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"strings"
	"time"
)

// scriptName is what stack traces call the user's code.
const scriptName = "main.js"

// scriptRun is one run of a script.
type scriptRun struct {
	guest    *guest
	answered bool
	failed   bool // the answer is an error that the code's run ended with
	answer   []byte
}

// runScript runs JavaScript as OpenWhisk's Node runtime does.
func (g *guest) runScript(ctx context.Context) Outcome {
	if g.call.CGI {
		return developerError("JavaScript has no CGI: use a WebAssembly program, or a web action without it")
	}
	run, limit := &scriptRun{guest: g}, g.call.Limits.ResultBytes
	err := run.run(ctx)
	script, threw := errors.AsType[*errScript](err)
	switch {
	case threw && ctx.Err() == nil && !g.memory.exhausted && !g.memory.crowded:
		g.logs.addLines(stderr, strings.TrimSpace(script.text))
		return developerError("Initialization has failed due to: " + firstLine(script.text))
	case err != nil:
		return g.failed(ctx, err)
	case !run.answered:
		return developerError(textAbnormal + " Its promise was not settled, and nothing is left to wait for.")
	case int64(len(run.answer)) > limit:
		return developerError(tooLong(int64(len(run.answer)), limit, run.answer))
	}
	o := judged(run.answer)
	if run.failed {
		o.Status = DeveloperError
	}
	return o
}

func (r *scriptRun) run(ctx context.Context) error {
	instance, err := r.guest.instantiate(ctx, r.guest.config(ctx).WithStdout(io.Discard))
	if err != nil {
		return err
	}
	defer instance.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has no files
	e := newEngine(ctx, instance, r.called)
	later := r.prepare(e)
	e.eval(r.guest.script.script, scriptName)
	// A main that is a const is no member of the global object.
	main := e.eval([]byte("typeof main === 'function' ? main : undefined"), "start")
	e.apply(e.property(later, "start"), main)
	r.wait(e, later)
	return e.err
}

// prepare runs the prelude and returns what it returns.
func (r *scriptRun) prepare(e *engine) uint64 {
	begin := e.eval([]byte(prelude), "prelude.js")
	var args []uint64
	for _, name := range []string{"log", "answer", "now"} {
		args = append(args, e.function(name))
	}
	variables := map[string]string{}
	maps.Copy(variables, r.guest.call.Env)
	environment, err := json.Marshal(variables)
	if err != nil {
		panic(err) // a map of strings always has a JSON form
	}
	args = append(args, e.text(r.guest.call.Input), e.text(environment), e.call("qjs_get_global"))
	return e.apply(begin, args...)
}

// wait runs promises and timers until there is an answer or nothing left to wait for.
func (r *scriptRun) wait(e *engine, later uint64) {
	turn := e.property(later, "turn")
	for {
		e.runJobs(func() bool { return r.answered || e.ctx.Err() != nil })
		if e.err == nil && !r.answered {
			e.err = e.ctx.Err()
		}
		if e.err != nil || r.answered {
			return
		}
		milliseconds := e.number(e.apply(turn))
		if e.err != nil || milliseconds < 0 {
			return
		}
		if milliseconds > 0 {
			sleep(e.ctx, time.Duration(milliseconds*float64(time.Millisecond)))
		}
	}
}

// called carries out the functions of prepare.
func (r *scriptRun) called(e *engine, name string, args []uint64) {
	if e.require(len(args) == 2); e.err != nil {
		return
	}
	kind, text := e.number(args[0]), e.read(args[1])
	switch {
	case e.err != nil:
	case name == "log" && kind == 2:
		r.guest.logs.addLines(stderr, string(text))
	case name == "log":
		r.guest.logs.addLines(stdout, string(text))
	case name == "answer" && !r.answered: // the first one counts, as with a promise
		r.answered, r.failed, r.answer = true, kind != 0, text
	}
}

// checkScript compiles a script in an instance of its own. The error is a
// *CodeError when the script is to blame.
func (g *guest) checkScript(ctx context.Context, script []byte) error {
	instance, err := g.instantiate(ctx, g.config(ctx).WithStdout(io.Discard))
	if err != nil {
		return err
	}
	defer instance.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has no files
	e := newEngine(ctx, instance, nil)
	e.check(script, scriptName)
	thrown, threw := errors.AsType[*errScript](e.err)
	switch {
	case threw:
		return &CodeError{"the script cannot be compiled: " + strings.Join(strings.Fields(thrown.text), " ")}
	case e.err != nil && (ctx.Err() != nil || g.memory.exhausted):
		return &CodeError{"the script takes too much time or memory to compile"}
	}
	return e.err
}
