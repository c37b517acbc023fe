package sandbox

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// loaded is code that a worker holds ready: a module or a script. Each has a
// runtime of its own, so that it can be unloaded alone.
type loaded struct {
	hash    string
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	module  wazero.CompiledModule
	script  []byte
	size    int64 // what it takes, roughly: the length of its files

	ready chan struct{} // closed when it is loaded, or err says why not
	err   error

	// Guarded by modules.mu.
	users   int
	place   *list.Element // in modules.order; nil when it is to be unloaded
	counted bool          // in modules.size
}

// least is how much memory an instance needs at once, in bytes.
func (l *loaded) least() int64 {
	for _, memory := range l.module.ExportedMemories() {
		return int64(memory.Min()) << 16
	}
	return 0
}

func (l *loaded) close() {
	if l.runtime == nil {
		return
	}
	ctx := context.Background() // nothing that could be waited for
	_ = l.runtime.Close(ctx)    // closes instances, of which there are none
	_ = l.cache.Close(ctx)
}

// modules keeps loaded code, and unloads what was not used for the longest time
// when it is too much. It is safe for concurrent use.
type modules struct {
	store store
	limit int64

	mu     sync.Mutex
	byHash map[string]*loaded
	order  *list.List // of *loaded, the latest used first
	size   int64
}

func newModules(from store, limit int64) *modules {
	return &modules{store: from, limit: limit, byHash: map[string]*loaded{}, order: list.New()}
}

// acquire returns the code of hash, to be given back with release, and whether
// it had to be loaded first. Errors wrap errMissing or errCorrupt where
// compiling helps.
func (m *modules) acquire(ctx context.Context, hash string, kind Kind) (code *loaded, cold bool, err error) {
	m.mu.Lock()
	code, found := m.byHash[hash]
	if !found {
		code = &loaded{hash: hash, ready: make(chan struct{})}
		m.byHash[hash] = code
		code.place = m.order.PushFront(code)
	} else {
		m.order.MoveToFront(code.place)
	}
	code.users++
	m.mu.Unlock()
	if !found {
		code.err = m.load(context.WithoutCancel(ctx), code, kind) // others wait for it, too
		close(code.ready)
	}
	select {
	case <-code.ready:
	case <-ctx.Done():
		m.release(code)
		return nil, false, ctx.Err()
	}
	if code.err != nil {
		err = code.err
		m.forget(hash, code)
		m.release(code)
		return nil, false, err
	}
	m.shrink(code, !found)
	return code, !found, nil
}

// release gives code back.
func (m *modules) release(code *loaded) {
	m.mu.Lock()
	code.users--
	unload := code.users == 0 && code.place == nil
	m.mu.Unlock()
	if unload {
		code.close()
	}
}

// forget unloads the code of hash as soon as nobody uses it. Where only is not
// nil, it does so only when that is what is loaded now.
func (m *modules) forget(hash string, only *loaded) {
	m.mu.Lock()
	code, found := m.byHash[hash]
	unload := false
	if found && (only == nil || only == code) {
		unload = m.unlink(code)
	}
	m.mu.Unlock()
	if unload {
		code.close()
	}
}

// unlink takes code out of the books, and says whether it can be closed now.
// m.mu is held.
func (m *modules) unlink(code *loaded) bool {
	delete(m.byHash, code.hash)
	m.order.Remove(code.place)
	code.place = nil
	if code.counted {
		m.size -= code.size
	}
	return code.users == 0
}

// shrink counts code, if it is new, and unloads others while all are too large.
func (m *modules) shrink(code *loaded, isNew bool) {
	var idle []*loaded
	m.mu.Lock()
	if isNew && code.place != nil {
		m.size += code.size
		code.counted = true
	}
	for at := m.order.Back(); at != nil && m.size > m.limit; {
		old, ok := at.Value.(*loaded)
		at = at.Prev()
		if ok && old.users == 0 && m.unlink(old) {
			idle = append(idle, old)
		}
	}
	m.mu.Unlock()
	for _, old := range idle {
		old.close()
	}
}

// load reads the code from the store.
func (m *modules) load(ctx context.Context, code *loaded, kind Kind) error {
	size, err := m.store.verify(ctx, code.hash)
	if err != nil {
		return err
	}
	folder := m.store.folder(code.hash)
	if kind == JavaScript {
		code.script, err = os.ReadFile(filepath.Join(folder, scriptFile))
	} else {
		err = code.compile(ctx, folder)
	}
	if err != nil {
		code.close()
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	code.size = size
	return nil
}

// compile makes the module of the folder ready; wazero finds the machine code
// in the folder.
func (l *loaded) compile(ctx context.Context, folder string) error {
	content, err := os.ReadFile(filepath.Join(folder, wasmFile))
	if err != nil {
		return err
	}
	if l.cache, err = wazero.NewCompilationCacheWithDir(filepath.Join(folder, codeFolder)); err != nil {
		return err
	}
	// A call is ended by its metering, see meter.go.
	l.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2).WithCompilationCache(l.cache))
	if err := instantiateWASI(ctx, l.runtime); err != nil {
		return err
	}
	if l.hash == engineHash {
		if err := instantiateEngineHost(ctx, l.runtime); err != nil {
			return err
		}
	}
	l.module, err = l.runtime.CompileModule(ctx, content)
	return err
}

// compilable says whether err is one that compiling anew mends.
func compilable(err error) bool { return errors.Is(err, errMissing) || errors.Is(err, errCorrupt) }
