package database_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/database"
)

func shell(script string) database.Program {
	return database.Program{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"GREETING=hello"}}
}

func TestProgramCopies(t *testing.T) {
	t.Parallel()
	input := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var output bytes.Buffer
	if err := shell("cat").Run(t.Context(), bytes.NewReader(input), &output); err != nil || !bytes.Equal(output.Bytes(), input) {
		t.Errorf("cat: %v, %d bytes", err, output.Len())
	}
	output.Reset()
	if err := shell("echo $GREETING $HOME; pwd").Run(t.Context(), nil, &output); err != nil || output.String() != "hello\n/\n" {
		t.Errorf("the environment: %v, %q", err, output.String())
	}
	// A program that reads only the beginning does not keep the end of the input from being read.
	rest := bytes.NewReader(input)
	if err := shell("head -c 10 >/dev/null").Run(t.Context(), rest, nil); err != nil || rest.Len() != 0 {
		t.Errorf("head: %v, %d bytes left", err, rest.Len())
	}
}

func TestProgramFails(t *testing.T) {
	t.Parallel()
	away := errors.New("the store is away")
	var failed *database.ProgramError
	err := shell("echo warning >&2; printf 'sh: ERROR: one\\033\\nerror: two\\n' >&2; exit 3").Run(t.Context(), nil, io.Discard)
	if !errors.As(err, &failed) || err.Error() != "sh: sh: ERROR: one" {
		t.Errorf("a message: %v", err)
	}
	if err := shell("exit 3").Run(t.Context(), strings.NewReader("x"), io.Discard); !errors.As(err, &failed) || err.Error() != "sh: exit status 3" {
		t.Errorf("a status: %v", err)
	}
	if err := (database.Program{Path: "/nonexistent"}).Run(t.Context(), nil, io.Discard); !errors.As(err, &failed) {
		t.Errorf("no program: %v", err)
	}
	if err := shell("yes").Run(t.Context(), nil, failing{away}); !errors.Is(err, away) {
		t.Errorf("a writer that fails: %v", err)
	}
	for _, script := range []string{"cat", "sleep 60", "exit 0", "head -c 1"} {
		in := io.MultiReader(strings.NewReader("beginning"), failing{away})
		if err := shell(script).Run(t.Context(), in, io.Discard); !errors.Is(err, away) {
			t.Errorf("a reader that fails, for %s: %v", script, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Run returns when it is cancelled, also while the other end of a pipe is blocked.
func TestProgramCancelled(t *testing.T) {
	t.Parallel()
	blocked, unblock := io.Pipe()
	defer func() { _ = unblock.Close() }()
	for name, run := range map[string]func(context.Context) error{
		"a program that hangs":     func(ctx context.Context) error { return shell("sleep 60").Run(ctx, nil, io.Discard) },
		"a writer that is blocked": func(ctx context.Context) error { return shell("yes").Run(ctx, nil, unblock) },
		"a reader that is blocked": func(ctx context.Context) error { return shell("cat").Run(ctx, blocked, io.Discard) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		if err := run(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %v after %s", name, err, time.Since(began))
		}
		cancel()
	}
}

const childVariable = "CHANDLER_TEST_PROGRAM"

// A program ends with the process that runs it.
func TestProgramEndsWithUs(t *testing.T) {
	t.Parallel()
	if os.Getenv(childVariable) != "" {
		fmt.Println(shell("echo $$; exec sleep 300").Run(context.Background(), nil, os.Stdout))
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProgramEndsWithUs$") //nolint:gosec // this test
	cmd.Env = append(os.Environ(), childVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 32)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for end := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the program outlived its parent")
		}
	}
}

// zombie says whether a process has ended and nobody has waited for it.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}
