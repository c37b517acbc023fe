package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Prepare compiles code, so that its first call need not wait, and says what is
// wrong with it: a *CodeError, whose text is for the user. Other errors are not
// the user's, and wrap ErrClosed or ErrUnavailable where it may work in a while.
func (p *Pool) Prepare(ctx context.Context, code Code) error {
	if !validHash(code.Hash) {
		return fmt.Errorf("%q is no SHA-256 in hexadecimal digits", code.Hash)
	}
	if p.store.has(code.Hash) {
		return nil
	}
	return p.provide(ctx, code, absent{Hash: code.Hash})
}

// provide compiles what is absent: code, or the engine. At the same time, one
// does it for all that want the same.
func (p *Pool) provide(ctx context.Context, code Code, what absent) error {
	if what.Hash == engineHash {
		code = engineCode()
	}
	compiled := p.compiling.DoChan(what.Hash, func() (any, error) {
		return nil, p.compile(context.WithoutCancel(ctx), code, what.Corrupt)
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

// compileAttempts is how often code is compiled whose worker ends meanwhile: that
// may be another call's fault.
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
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // removed as a leftover otherwise
	into := filepath.Join(folder, "out")
	if err := os.Mkdir(into, 0o700); err != nil {
		return fmt.Errorf("make a folder for compiled code: %w", err)
	}
	if code.Kind == JavaScript {
		err = p.keepScript(ctx, content, into)
	} else {
		err = p.compileModule(ctx, code.Hash, content, folder, into)
	}
	if err != nil {
		return err
	}
	return p.store.publish(into, code.Hash)
}

// keepScript checks a script's syntax and writes it into a folder.
func (p *Pool) keepScript(ctx context.Context, script []byte, into string) error {
	if err := p.checkScript(ctx, script); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(into, scriptFile), script, 0o600); err != nil {
		return fmt.Errorf("keep the script: %w", err)
	}
	return sign(into)
}

// checkScript has a worker look at a script's syntax, for which the engine may
// have to be compiled.
func (p *Pool) checkScript(ctx context.Context, script []byte) error {
	for range 3 {
		h, err := p.place(ctx, engineHash)
		if err != nil {
			return err
		}
		reply, err := p.ask(ctx, h, engineHash, message{Check: true, body: script})
		if err != nil {
			return fmt.Errorf("check the script: %w", err)
		}
		if reply.Checked == nil {
			return errFrame
		}
		if reply.Checked.absent.Hash != engineHash {
			return reply.Checked.err()
		}
		if err := p.provide(ctx, engineCode(), reply.Checked.absent); err != nil {
			return err
		}
	}
	return errors.New("the compiled JavaScript engine does not stay in its folder")
}

func (r *codeReply) err() error {
	switch {
	case r.Refused != "":
		return &CodeError{r.Refused}
	case r.Failed != "":
		return errors.New(r.Failed)
	}
	return nil
}

// compileModule compiles a module in a process of its own, which is ended when
// it takes too much time or memory.
func (p *Pool) compileModule(ctx context.Context, hash string, content []byte, folder, into string) error {
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
	seconds := int64(o.CompileTime.Round(time.Second) / time.Second)
	worker, err := startProcess(o.Command, settings{
		Folder: o.Folder, Build: p.store.build, Compiler: true, Memory: o.CompileMemory, CompileSeconds: max(1, seconds),
	})
	if err != nil {
		return err
	}
	defer worker.kill()
	// A process that waits uses no CPU time, so there is another limit.
	ctx, cancel := context.WithTimeout(ctx, 10*o.CompileTime)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	reply, err := worker.ask(ctx, message{Compile: &compileRequest{Hash: hash, From: folder, Into: into}})
	switch {
	case p.ctx.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil:
		return &CodeError{"the module takes too long to compile"}
	case errors.Is(err, errGone):
		return p.compilerEnded(worker)
	case err != nil:
		return err
	case reply.Checked == nil:
		return errFrame
	}
	return reply.Checked.err()
}

// compilerEnded tells a module that is too hard to compile from other reasons.
func (p *Pool) compilerEnded(worker *process) error {
	err := worker.failure()
	p.log.Warn("a compilation ended early", "error", err)
	if worker.outOfTime() || worker.outOfMemory() {
		return &CodeError{fmt.Sprintf("the module takes more than %s of CPU time or %d MB of memory to compile",
			p.options.CompileTime, p.options.CompileMemory>>20)}
	}
	return fmt.Errorf("compile: %w", err)
}
