package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

// scriptName is what stack traces call the user's code.
const scriptName = "main.js"

// scriptRun is one run of a script. It implements engineHost.
type scriptRun struct {
	guest    *guest
	answered bool
	failed   bool // the answer is an error that the code's run ended with
	answer   []byte
	length   int64 // of the answer, which is kept only when it is short enough
}

// runScript runs JavaScript as OpenWhisk's Node runtime does.
func (g *guest) runScript(ctx context.Context) outcome {
	if g.request.CGI {
		return outcome{status: DeveloperError, result: object("JavaScript has no CGI: use a WebAssembly program, or a web action without it")}
	}
	run := &scriptRun{guest: g}
	err := run.run(ctx)
	script := new(errScript)
	switch {
	case errors.As(err, &script) && ctx.Err() == nil && !g.memory.exhausted && !g.memory.crowded:
		g.logLines(script.text)
		return outcome{status: DeveloperError, result: object("Initialization has failed due to: " + firstLine(script.text))}
	case err != nil:
		return g.failed(ctx, err)
	case !run.answered:
		return outcome{status: DeveloperError, result: object(textAbnormal + " Its promise was not settled, and nothing is left to wait for.")}
	case run.length > g.request.Limits.ResultBytes:
		return outcome{status: DeveloperError, result: object(tooLong(run.length, g.request.Limits.ResultBytes, run.answer))}
	}
	status, result := judged(run.answer)
	if run.failed {
		status = DeveloperError
	}
	return outcome{status: status, result: result}
}

func (g *guest) logLines(text string) {
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		g.logs.add(time.Now(), stderr, []byte(line))
	}
}

func (r *scriptRun) run(ctx context.Context) error {
	instance, err := r.guest.instantiate(ctx, r.guest.config(ctx).WithStdout(io.Discard))
	if err != nil {
		return err
	}
	defer instance.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has no files
	e := &engine{module: instance, host: r}
	if err := e.begin(ctx); err != nil {
		return err
	}
	later, err := r.prepare(ctx, e)
	if err != nil {
		return err
	}
	if _, err := e.eval(ctx, r.guest.script.script, scriptName); err != nil {
		return err
	}
	// A main that is a const is no member of the global object.
	main, err := e.eval(ctx, []byte("typeof main === 'function' ? main : undefined"), "start")
	if err != nil {
		return err
	}
	start, err := e.property(ctx, later, "start")
	if err != nil {
		return err
	}
	if _, err := e.apply(ctx, start, main); err != nil {
		return err
	}
	return r.wait(ctx, e, later)
}

// prepare runs the prelude and returns what it returns.
func (r *scriptRun) prepare(ctx context.Context, e *engine) (uint64, error) {
	begin, err := e.eval(ctx, []byte(prelude), "prelude.js")
	if err != nil {
		return 0, err
	}
	var args []uint64
	for _, name := range []string{"log", "answer", "now"} {
		function, err := e.function(ctx, name)
		if err != nil {
			return 0, err
		}
		args = append(args, function)
	}
	environment, err := json.Marshal(r.guest.request.Env)
	if err != nil {
		return 0, err
	}
	if r.guest.request.Env == nil {
		environment = []byte("{}")
	}
	for _, text := range [][]byte{r.guest.input, environment} {
		value, err := e.text(ctx, text)
		if err != nil {
			return 0, err
		}
		args = append(args, value)
	}
	global, err := e.call(ctx, "qjs_get_global")
	if err != nil {
		return 0, err
	}
	return e.apply(ctx, begin, append(args, global)...)
}

// wait lets promises and timers go on until there is an answer or nothing left
// to wait for.
func (r *scriptRun) wait(ctx context.Context, e *engine, later uint64) error {
	turn, err := e.property(ctx, later, "turn")
	if err != nil {
		return err
	}
	for {
		if err := e.settle(ctx, func() bool { return r.answered || ctx.Err() != nil }); err != nil || r.answered {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		value, err := e.apply(ctx, turn)
		if err != nil {
			return err
		}
		milliseconds, err := e.number(ctx, value)
		if err != nil || milliseconds < 0 {
			return err
		}
		if milliseconds > 0 {
			sleep(ctx, time.Duration(milliseconds*float64(time.Millisecond)))
		}
	}
}

// called implements engineHost.
func (r *scriptRun) called(ctx context.Context, e *engine, name string, args []uint64) error {
	if len(args) != 2 {
		return errEngine
	}
	kind, err := e.number(ctx, args[0])
	if err != nil {
		return err
	}
	text, err := e.read(ctx, args[1])
	if err != nil {
		return err
	}
	switch name {
	case "log":
		r.log(kind, string(text))
	case "answer":
		if !r.answered { // the first one counts, as with a promise
			r.answered, r.failed, r.length = true, kind != 0, int64(len(text))
			r.answer = text
		}
	}
	return nil
}

func (r *scriptRun) log(kind float64, text string) {
	stream := stdout
	if kind == 2 {
		stream = stderr
	}
	for line := range strings.SplitSeq(text, "\n") {
		r.guest.logs.add(time.Now(), stream, []byte(line))
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
	e := &engine{module: instance}
	if err := e.begin(ctx); err != nil {
		return err
	}
	err = e.check(ctx, script, scriptName)
	thrown := new(errScript)
	switch {
	case errors.As(err, &thrown):
		return &CodeError{"the script cannot be compiled: " + strings.Join(strings.Fields(thrown.text), " ")}
	case err != nil && (ctx.Err() != nil || g.memory.exhausted):
		return &CodeError{"the script takes too much time or memory to compile"}
	}
	return err
}
