package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"
)

// Options are what a [Pool] is made of. Command, Folder and Logger are required; a zero
// value of another field stands for its default.
type Options struct {
	// Command is the program, with its arguments, that calls [Worker].
	Command []string
	// Folder holds compiled code, and is created if missing. Several processes of one
	// machine may share it.
	Folder string
	// Workers is how many subprocesses run calls: one for each CPU, at least 2.
	Workers int
	// Concurrency is how many calls one worker runs at once: 512. More wait.
	Concurrency int
	// Memory is what all calls together may use, in bytes: three quarters of the machine's,
	// or of the control group's. When it is used up, calls larger than 32 MB cannot grow.
	Memory int64
	// Overhead is how many bytes a worker may hold beside its calls' memory before it is
	// replaced and ends after its calls: 1 GiB.
	Overhead int64
	// CodeMemory is how much compiled code a worker caches, in bytes: 256 MiB.
	CodeMemory int64
	// CompileTime and CompileMemory limit a compilation: 2 minutes of CPU time, and 2 GiB.
	CompileTime   time.Duration
	CompileMemory int64
	Logger        *slog.Logger `json:"-"`
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
	o.Workers = cmp.Or(o.Workers, max(2, runtime.NumCPU()))
	o.Concurrency = cmp.Or(o.Concurrency, 512)
	o.Overhead = cmp.Or(o.Overhead, 1<<30)
	o.CodeMemory = cmp.Or(o.CodeMemory, 256<<20)
	o.CompileTime = cmp.Or(o.CompileTime, 2*time.Minute)
	o.CompileMemory = cmp.Or(o.CompileMemory, 2<<30)
	if o.Memory == 0 {
		total, err := machineMemory()
		if err != nil {
			return o, fmt.Errorf("sandbox: set Memory: the machine's memory is unknown: %w", err)
		}
		o.Memory = total / 4 * 3
	}
	return o, nil
}
