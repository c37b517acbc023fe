package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Prepare compiles code, so that its first call need not wait. The error is a *CodeError
// if the code is to blame, and wraps ErrClosed or ErrUnavailable if a retry may help.
func (p *Pool) Prepare(ctx context.Context, code Code) error {
	if err := checkHash(code.Hash); err != nil {
		return err
	}
	if p.store.has(code.Hash) {
		return nil
	}
	return p.provide(ctx, code, notCompiled{Hash: code.Hash})
}

// PrepareEngine is Prepare of the JavaScript engine.
func (p *Pool) PrepareEngine(ctx context.Context) error { return p.Prepare(ctx, engineCode()) }

// provide compiles what is missing: code, or the engine. Concurrent calls for the same
// code share one compilation.
func (p *Pool) provide(ctx context.Context, code Code, missing notCompiled) error {
	if missing.Hash == engineHash {
		code = engineCode()
	}
	compiled := p.compiling.DoChan(missing.Hash, func() (any, error) {
		return nil, p.compile(context.WithoutCancel(ctx), code, missing.Corrupt)
	})
	select {
	case result := <-compiled:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		return ErrClosed
	}
}

// compileAttempts are for workers that another call ends meanwhile.
const compileAttempts = 3

// compile brings code into the store.
func (p *Pool) compile(ctx context.Context, code Code, corrupt bool) (err error) {
	for range compileAttempts {
		if err = p.compileOnce(ctx, code, corrupt); !errors.Is(err, errGone) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func (p *Pool) compileOnce(ctx context.Context, code Code, corrupt bool) error {
	if corrupt {
		p.log.Warn("compiled code is damaged and is compiled again", "hash", code.Hash)
		if err := p.store.discard(code.Hash); err != nil {
			return err
		}
	}
	content, err := code.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the code: %w", err)
	}
	if hashOf(content) != code.Hash {
		return fmt.Errorf("the code is not the one of hash %s", code.Hash)
	}
	folder, err := p.store.fresh()
	defer os.RemoveAll(folder) //nolint:errcheck // removed as a leftover otherwise
	if err != nil {
		return err
	}
	into := filepath.Join(folder, outFolder)
	if code.Kind == JavaScript {
		err = p.storeScript(ctx, content, into)
	} else {
		err = p.compileModule(ctx, code.Hash, content, folder)
	}
	if err != nil {
		return err
	}
	return p.store.publish(into, code.Hash)
}

// storeScript has a worker check a script's syntax, for which the engine may have to
// be compiled, and writes it into a folder.
func (p *Pool) storeScript(ctx context.Context, script []byte, into string) error {
	check := Call{Code: engineCode(), Limits: Limits{Timeout: checkTime}}
	reply, _, err := p.carryOut(ctx, check, message{Check: true, body: script})
	if err != nil {
		return fmt.Errorf("check the script: %w", err)
	}
	if err := reply.err(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(into, scriptFile), script, 0o600); err != nil {
		return fmt.Errorf("write the script: %w", err)
	}
	return sign(into)
}

// compileModule compiles a module in a process of its own, which is ended when
// it takes too much time or memory.
func (p *Pool) compileModule(ctx context.Context, hash string, content []byte, folder string) error {
	if err := os.WriteFile(filepath.Join(folder, sourceFile), content, 0o600); err != nil {
		return fmt.Errorf("write the module: %w", err)
	}
	select {
	case p.compilers <- struct{}{}:
		defer func() { <-p.compilers }()
	case <-p.ctx.Done():
		return ErrClosed
	}
	o := p.options
	seconds := max(1, o.CompileTime.Round(time.Second)/time.Second)
	worker, err := startProcess(settings{Options: o, Build: p.store.build, CompileSeconds: int64(seconds)})
	if err != nil {
		return err
	}
	defer worker.kill()
	// A process that waits uses no CPU time, so there is another limit.
	ctx, cancel := context.WithTimeout(ctx, 10*o.CompileTime)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	reply, err := worker.ask(ctx, message{Compile: &compileRequest{hash, folder}}, func(message) {})
	switch {
	case p.ctx.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil:
		return &CodeError{"the module takes too long to compile"}
	case errors.Is(err, errGone):
		return p.compilerEnded(worker, seconds*time.Second)
	case err != nil:
		return err
	}
	return reply.err()
}

// compilerEnded tells a module that is too hard to compile from other reasons.
func (p *Pool) compilerEnded(worker *process, limit time.Duration) error {
	err := worker.failure()
	p.log.Warn("a compilation ended early", "error", err)
	if worker.exceeded(limit) {
		return &CodeError{fmt.Sprintf("the module takes more than %s of CPU time or %d MB of memory to compile",
			p.options.CompileTime, p.options.CompileMemory>>20)}
	}
	return fmt.Errorf("compile: %w", err)
}
