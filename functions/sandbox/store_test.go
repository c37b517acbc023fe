package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// reopened runs code in a new pool on the same folder.
func reopened(t *testing.T, folder string, code Code) Outcome {
	t.Helper()
	p := open(t, func(o *Options) { o.Folder, o.Workers = folder, 1 })
	defer func() { must(t, p.Close()) }()
	return run(t, p, code, fields{"do": "echo", "value": fields{"a": 1}})
}

func TestDamagedCode(t *testing.T) {
	folder := t.TempDir()
	code := wasmModule{bodies: [][]byte{body()}}.code()
	loads := 0
	content, _ := code.Load(t.Context())
	code.Load = func(context.Context) ([]byte, error) { loads++; return content, nil }
	if o := reopened(t, folder, code); loads != 1 || !o.Cold || !strings.Contains(string(o.Result), textInvalid) {
		t.Fatalf("%d loads, %+v, %s", loads, o, o.Result)
	}
	if o := reopened(t, folder, code); loads != 1 || !o.Cold {
		t.Fatalf("from disk: %d loads, %+v", loads, o)
	}
	home := newStore(folder).folder(code.Hash)
	compiled := func() string {
		var found string
		_ = filepath.WalkDir(filepath.Join(home, codeFolder), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				found = path
			}
			return err
		})
		return found
	}
	flip := func(path string, at int64) error {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		var b [1]byte
		if _, err := file.ReadAt(b[:], at); err != nil {
			return err
		}
		b[0] ^= 4
		_, err = file.WriteAt(b[:], at)
		return err
	}
	for name, damage := range map[string]func() error{
		"a bit of the machine code":   func() error { return flip(compiled(), 40) },
		"a bit at its beginning":      func() error { return flip(compiled(), 1) },
		"a bit of the module":         func() error { return flip(filepath.Join(home, wasmFile), 20) },
		"the machine code is cut":     func() error { return os.Truncate(compiled(), 50) },
		"the machine code is empty":   func() error { return os.Truncate(compiled(), 0) },
		"the machine code is gone":    func() error { return os.Remove(compiled()) },
		"the module is gone":          func() error { return os.Remove(filepath.Join(home, wasmFile)) },
		"the manifest is gone":        func() error { return os.Remove(filepath.Join(home, manifestFile)) },
		"the manifest is empty":       func() error { return os.Truncate(filepath.Join(home, manifestFile), 0) },
		"the manifest says something": func() error { return os.WriteFile(filepath.Join(home, manifestFile), []byte("{}"), 0o600) },
		"the folder is gone":          func() error { return os.RemoveAll(home) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			before := loads
			if o := reopened(t, folder, code); loads != before+1 || !strings.Contains(string(o.Result), textInvalid) {
				t.Errorf("%d loads, %s: %s", loads-before, o.Status, o.Result)
			}
			if o := reopened(t, folder, code); loads != before+1 || o.Status != DeveloperError {
				t.Errorf("repaired: %d loads, %s: %s", loads-before, o.Status, o.Result)
			}
		})
	}
}

func TestForget(t *testing.T) {
	folder := t.TempDir()
	p := open(t, func(o *Options) { o.Folder = folder })
	code := script(`function main(p) { return {n: p.n} }`)
	if o := run(t, p, code, fields{"n": 1}); o.Status != Success {
		t.Fatalf("%s: %s", o.Status, o.Result)
	}
	if err := p.Forget(code.Hash); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, code.Hash) || strings.Contains(path, "trash-") {
			t.Errorf("%s is still there", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("the code is gone")
	code.Load = func(context.Context) ([]byte, error) { return nil, gone }
	for range 4 { // both workers have forgotten it
		if _, err := p.Run(t.Context(), Call{Code: code, Input: []byte("{}"), Limits: defaultLimits()}); !errors.Is(err, gone) {
			t.Errorf("error %v", err)
		}
	}
	if err := p.Forget(code.Hash); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// TestForgetWhileRunning: a call continues with code that is forgotten.
func TestForgetWhileRunning(t *testing.T) {
	p := open(t, ownFolder(t))
	code := script(`function main() { return new Promise((d) => setTimeout(() => d({done: true}), 500)) }`)
	if err := p.Prepare(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if o := run(t, p, code, nil); o.Status != Success {
				t.Errorf("%s: %s", o.Status, o.Result)
			}
		})
	}
	for range 5 {
		time.Sleep(50 * time.Millisecond)
		if err := p.Forget(code.Hash); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
}

// TestSharedFolder has several pools compile and forget the same code at once.
func TestSharedFolder(t *testing.T) {
	folder := t.TempDir()
	pools := []*Pool{open(t, func(o *Options) { o.Folder = folder }), open(t, func(o *Options) { o.Folder = folder })}
	codes := []Code{script(`function main() { return {n: 1} }`), wasmModule{bodies: [][]byte{body(0)}}.code()}
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for n := range 6 {
				p, code := pools[(i+n)%2], codes[i%2]
				o, err := p.Run(t.Context(), Call{Code: code, Input: []byte("{}"), Limits: defaultLimits()})
				want := map[Kind]Status{JavaScript: Success, WASM: DeveloperError}[code.Kind]
				if err != nil || o.Status != want {
					t.Errorf("%v, %s: %s", err, o.Status, o.Result)
				}
				if i < 2 && n%3 == 0 {
					if err := p.Forget(code.Hash); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

func TestLeftoversOfCompilations(t *testing.T) {
	folder := t.TempDir()
	long := time.Now().Add(-2 * leftoverAge)
	must(t, os.MkdirAll(filepath.Join(folder, "fresh-1", "out"), 0o700), os.Mkdir(filepath.Join(folder, "trash-1"), 0o700),
		os.Mkdir(filepath.Join(folder, "fresh-2"), 0o700),
		os.Chtimes(filepath.Join(folder, "fresh-1"), long, long), os.Chtimes(filepath.Join(folder, "trash-1"), long, long))
	open(t, func(o *Options) { o.Folder = folder })
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 || entries[0].Name() != "fresh-2" {
		t.Errorf("%v, %v; want only what is new", entries, err)
	}
}

// TestUnloading: unused code is unloaded for other code.
func TestUnloading(t *testing.T) {
	p := open(t, func(o *Options) { o.Workers, o.CodeMemory = 1, 1 })
	a, b := script(`function main() { return {a: 1} }`), script(`function main() { return {b: 1} }`)
	for range 3 {
		for _, code := range []Code{a, b} {
			if o := run(t, p, code, nil); o.Status != Success || !o.Cold {
				t.Errorf("%s: %s, cold %t", o.Status, o.Result, o.Cold)
			}
		}
	}
}
