package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// workerArgument makes this test's program a worker.
const workerArgument = "sandbox-test-worker"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerArgument {
		if err := Worker(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func workerCommand(t testing.TB) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, workerArgument}
}

// open opens a pool, with a folder of its own unless change gives another.
func open(t testing.TB, change ...func(*Options)) *Pool {
	t.Helper()
	o := Options{
		Command: workerCommand(t), Folder: sharedFolder(t), Workers: 2, Logger: slog.New(slog.DiscardHandler),
		CompileMemory: compileMemory,
	}
	for _, c := range change {
		c(&o)
	}
	p, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

var folders struct {
	once sync.Once
	path string
	err  error
}

// sharedFolder keeps compiled code from one test to the next, and from one run
// of the tests to the next: compiling takes seconds.
func sharedFolder(t testing.TB) string {
	t.Helper()
	folders.once.Do(func() {
		cache, err := os.UserCacheDir()
		folders.path, folders.err = filepath.Join(cache, "chandler", "sandbox-test"), err
	})
	if folders.err != nil {
		t.Fatal(folders.err)
	}
	return folders.path
}

func ownFolder(t testing.TB) func(*Options) {
	folder := t.TempDir()
	return func(o *Options) { o.Folder = folder }
}

var guests sync.Map // by folder below testdata: func() ([]byte, error)

// guestCode is a Go program of testdata, compiled for wasip1.
func guestCode(t testing.TB, name string) Code {
	t.Helper()
	build, _ := guests.LoadOrStore(name, sync.OnceValues(func() ([]byte, error) {
		folder, err := os.MkdirTemp("", "sandbox-guest-")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(folder) }()
		file := filepath.Join(folder, "guest.wasm")
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./testdata/"+name)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		return os.ReadFile(file)
	}))
	content, err := build.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return codeOf(content, WASM)
}

func codeOf(content []byte, kind Kind) Code {
	return Code{Hash: hashOf(content), Kind: kind, Load: func(context.Context) ([]byte, error) { return content, nil }}
}

func script(text string) Code { return codeOf([]byte(text), JavaScript) }

func defaultLimits() Limits {
	return Limits{Timeout: 2 * time.Minute, Memory: 256 << 20, LogBytes: 1 << 20, ResultBytes: 1 << 20}
}

// run runs code with parameters, which are anything that has a JSON form.
func run(t testing.TB, p *Pool, code Code, parameters any, change ...func(*Call)) Outcome {
	t.Helper()
	input, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	call := Call{Code: code, Input: input, Limits: defaultLimits(), Namespace: "test"}
	for _, c := range change {
		c(&call)
	}
	o, err := p.Run(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

type fields = map[string]any

// member is a member of a result.
func member(t testing.TB, o Outcome, name string) any {
	t.Helper()
	var result fields
	if err := json.Unmarshal(o.Result, &result); err != nil {
		t.Fatalf("result %s: %v", o.Result, err)
	}
	return result[name]
}

func TestEcho(t *testing.T) {
	p := open(t, ownFolder(t))
	code := guestCode(t, "guest")
	first := run(t, p, code, fields{"do": "echo", "value": fields{"a": 1}})
	if first.Status != Success || string(first.Result) != `{"a":1}` || !first.Cold || first.Init <= 0 {
		t.Errorf("first: %+v, result %s", first, first.Result)
	}
	again := run(t, p, code, fields{"do": "echo", "value": fields{"a": 2}})
	if again.Status != Success || !bytes.Equal(again.Result, []byte(`{"a":2}`)) || again.Cold || again.Init != 0 {
		t.Errorf("again: %+v, result %s", again, again.Result)
	}
	t.Logf("cold %v + %v, warm %v", first.Init, first.Duration, again.Duration)
}
