package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"
)

// Options are what a [Pool] is made of. What is zero has the default that is
// named; Command, Folder and Logger have none.
type Options struct {
	// Command is the program, and its arguments, that calls [Worker].
	Command []string
	// Folder is where compiled code is kept, made when it is missing. Several
	// processes may share it, on one machine.
	Folder string
	// Workers is how many subprocesses run calls: the number of CPUs, at
	// least 2.
	Workers int
	// Concurrency is how many calls one worker runs at once: 512. Further ones
	// wait.
	Concurrency int
	// Memory is what all calls together may use, in bytes: three quarters of
	// the machine's, or of the control group's. When it is used up, calls that
	// have grown beyond 32 MB cannot grow further.
	Memory int64
	// Overhead is how much memory a worker may hold beside its calls' own, in
	// bytes: 1 GiB. One that holds more ends when its calls have, and is
	// replaced at once.
	Overhead int64
	// CodeMemory is how much compiled code a worker keeps loaded, in bytes:
	// 256 MiB.
	CodeMemory int64
	// CompileTime is how much CPU time a compilation may take: 2 minutes.
	CompileTime time.Duration
	// CompileMemory is how much memory a compilation may take, in bytes: 2 GiB.
	CompileMemory int64
	Logger        *slog.Logger
}

func (o Options) completed() (Options, error) {
	switch {
	case len(o.Command) == 0:
		return o, errors.New("sandbox: name the command that runs a worker")
	case !filepath.IsAbs(o.Folder):
		return o, fmt.Errorf("sandbox: the folder of compiled code must be an absolute path, not %q", o.Folder)
	case o.Logger == nil:
		return o, errors.New("sandbox: give a logger")
	}
	orDefault(&o.Workers, max(2, runtime.NumCPU()))
	orDefault(&o.Concurrency, 512)
	orDefault(&o.Overhead, 1<<30)
	orDefault(&o.CodeMemory, 256<<20)
	orDefault(&o.CompileTime, 2*time.Minute)
	orDefault(&o.CompileMemory, 2<<30)
	if o.Memory == 0 {
		total, err := machineMemory()
		if err != nil {
			return o, fmt.Errorf("sandbox: give Memory: this machine does not tell how much it has: %w", err)
		}
		o.Memory = total / 4 * 3
	}
	return o, nil
}

func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}
