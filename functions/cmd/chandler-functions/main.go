// Command chandler-functions serves Apache OpenWhisk's REST API and runs the code
// of its namespaces in worker processes.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // for containers without certificate authorities

	"github.com/chandler-broker/chandler/functions/sandbox"
)

// Exit codes, as the help lists them.
const (
	exitFailed = 1
	exitUsage  = 2 // the command line or the environment is at fault; nothing was tried
)

const help = `chandler-functions serves Apache OpenWhisk's REST API and runs the code of its
namespaces in worker processes, until SIGTERM; then it finishes what is in progress.
Any number of runtimes share one database. Namespaces and keys are made through the
administration API.

It prints "ready: URL" when it serves.

Usage:
  chandler-functions           serve
  chandler-functions version   print the version, the commit and the Go version

` + environment + `

Exit codes: 0 all is well; 1 something failed; 2 the command line or the environment
is at fault and nothing was tried.
`

// workerCommand is the argument by which a runtime starts this program as its worker.
const workerCommand = "worker"

// usageError is an error the caller can fix: bad arguments or environment.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	// The second signal kills: stop makes the first one the only one caught.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "chandler-functions:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return serve(ctx, out)
	}
	if len(args) == 1 {
		switch args[0] {
		case workerCommand:
			return sandbox.Worker(ctx, os.Stdin, os.Stdout)
		case "version", "--version":
			return printVersion(out)
		case "help", "--help", "-h":
			_, err := io.WriteString(out, help)
			return err
		}
	}
	return usagef("unknown arguments; see 'chandler-functions --help'")
}

// serve runs the runtime that the environment describes.
func serve(ctx context.Context, out io.Writer) error {
	s, err := readSettings(os.LookupEnv)
	if err != nil {
		return err
	}
	log, err := newLogger(s.logFormat, s.logLevel, os.Stderr)
	if err != nil {
		return err
	}
	p, err := open(ctx, s, log)
	if err != nil {
		return err
	}
	return errors.Join(p.serve(ctx, out), p.close())
}

// release is the version, which the linker sets in releases (deploy/release/build).
var release string

// build is the version, and the commit that the go command recorded.
func build() (version, commit string) {
	version = release
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
		if v := info.Main.Version; version == "" && v != "(devel)" {
			version = v
		}
	}
	return cmp.Or(version, commit, "development"), commit
}

func printVersion(out io.Writer) error {
	version, commit := build()
	_, err := fmt.Fprintf(out, "version: %s\ncommit: %s\ngo: %s\nplatform: %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
