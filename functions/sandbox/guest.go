package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/sys"
)

// guest is one call in a worker.
type guest struct {
	call   Call
	module *loaded // the user's, or the JavaScript engine
	script *loaded // nil but for JavaScript
	mounts mounted
	memory *guestMemory
	logs   *logs
}

// run runs the guest until it ends or reaches its time limit.
func (g *guest) run(ctx context.Context, budget *budget) Outcome {
	ctx, cancel := context.WithTimeout(ctx, g.call.Limits.Timeout)
	defer cancel()
	g.logs = &logs{limit: g.call.Limits.LogBytes}
	ctx = withEnviron(ctx, g.call.Env)
	g.memory = &guestMemory{ctx: ctx, limit: min(g.call.Limits.Memory, safepointBytes-1), budget: budget}
	var o Outcome
	switch {
	case g.module.least() > g.memory.limit:
		o = developerError(textMemory)
	case g.script != nil:
		o = g.runScript(ctx)
	case g.call.CGI:
		o = g.runCGI(ctx)
	default:
		o = g.runJSON(ctx)
	}
	o.Logs = g.logs.finished()
	return o
}

func (g *guest) runJSON(ctx context.Context) Outcome {
	found := &answers{limit: g.call.Limits.ResultBytes, logs: g.logs}
	out := &lineWriter{longest: max(found.limit, shown), take: found.add}
	err := g.start(ctx, g.config(ctx).WithStdout(out))
	out.flush()
	if err == nil {
		return found.outcome()
	}
	defer found.logAll()
	o := g.failed(ctx, err)
	if _, exited := errors.AsType[*sys.ExitError](err); exited && o.Status == DeveloperError && ctx.Err() == nil {
		if own := found.outcome(); own.Status == ApplicationError { // it says itself what went wrong
			o.Result = own.Result
		}
	}
	return o
}

func (g *guest) runCGI(ctx context.Context) Outcome {
	out := &capped{limit: g.call.Limits.ResultBytes}
	if err := g.start(ctx, g.config(ctx).WithStdout(out)); err != nil {
		return g.failed(ctx, err)
	}
	if out.length > out.limit {
		return developerError(tooLong(out.length, out.limit, out.content))
	}
	return Outcome{Status: Success, Output: out.content}
}

// config is what the guest sees of the world, but for standard output.
func (g *guest) config(ctx context.Context) wazero.ModuleConfig {
	log := &lineWriter{longest: max(g.logs.limit, 0), take: func(l line) { g.logs.add(l.at, stderr, l.text) }}
	config := wazero.NewModuleConfig().
		WithName(""). // so that there can be several
		WithStartFunctions().
		WithArgs("action").
		WithStdin(bytes.NewReader(g.call.Input)).
		WithStderr(log).
		WithSysWalltime().
		WithSysNanotime().
		WithNanosleep(func(nanoseconds int64) { sleep(ctx, time.Duration(nanoseconds)) }).
		WithRandSource(rand.Reader)
	if len(g.mounts) == 0 {
		return config
	}
	files := wazero.NewFSConfig()
	for path, folder := range g.mounts {
		if mounting, ok := files.(sysfs.FSConfig); ok {
			files = mounting.WithSysFSMount(folder, path)
		}
	}
	return config.WithFSConfig(files)
}

// sleep ends early with ctx; the guest then meets its next safepoint.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// start makes an instance and runs its _start. It returns nil if that returns or exits with 0.
func (g *guest) start(ctx context.Context, config wazero.ModuleConfig) error {
	instance, err := g.instantiate(ctx, config)
	if err != nil {
		return err
	}
	defer instance.Close(context.WithoutCancel(ctx)) //nolint:errcheck // closes files that are only read or synced
	_, err = instance.ExportedFunction("_start").Call(ctx)
	if exit, ok := errors.AsType[*sys.ExitError](err); ok && exit.ExitCode() == 0 {
		return nil
	}
	return err
}

// instantiate makes an instance of the module. wazero panics without memory for it.
func (g *guest) instantiate(ctx context.Context, config wazero.ModuleConfig) (instance api.Module, err error) {
	defer func() {
		if recover() != nil {
			g.memory.crowded = true
			err = errors.New("no memory for an instance")
		}
	}()
	return g.module.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, g.memory), g.module.module, config)
}

// failed says why the guest did not end as it should. Traps are logged with their place
// in the guest's code.
func (g *guest) failed(ctx context.Context, err error) Outcome {
	exit, exited := errors.AsType[*sys.ExitError](err)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return developerError(fmt.Sprintf(textTimeout, g.call.Limits.Timeout.Milliseconds()))
	case ctx.Err() != nil:
		return internalError("the call was cancelled")
	case g.memory.crowded:
		return internalError("this machine has no memory left for the action")
	}
	if !exited {
		g.logs.addLines(stderr, strings.TrimSpace(err.Error()))
	}
	switch {
	case g.memory.exhausted:
		return developerError(textMemory)
	case exited:
		return developerError(fmt.Sprintf("%s Its exit code is %d.", textAbnormal, exit.ExitCode()))
	}
	return developerError(textAbnormal + " " + trapName(err) + ".")
}

// trapName is what wazero calls the trap.
func trapName(err error) string {
	name := strings.TrimSuffix(firstLine(err.Error()), " (recovered by wazero)")
	return strings.TrimPrefix(name, "wasm error: ")
}
