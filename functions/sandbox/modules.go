package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// loaded is a module or a script that a worker has loaded, with its own runtime, so that
// it can be unloaded alone.
type loaded struct {
	hash    string
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	module  wazero.CompiledModule
	script  []byte

	ready chan struct{} // closed when it is loaded, or err says why not
	err   error

	// Guarded by modules.mu.
	users   int
	lastUse uint64 // by modules.uses
	size    int64  // of its files; 0 until it is loaded
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
	ctx := context.Background() // nothing here waits
	_ = l.runtime.Close(ctx)    // closes instances, of which there are none
	_ = l.cache.Close(ctx)
}

// modules is a cache of loaded code: the least recently used is unloaded. It is safe for
// concurrent use.
type modules struct {
	store store
	limit int64

	mu     sync.Mutex
	byHash map[string]*loaded
	uses   uint64
	size   int64 // of all in byHash
}

func newModules(from store, limit int64) *modules {
	return &modules{store: from, limit: limit, byHash: map[string]*loaded{}}
}

// acquire returns the code of hash, to be given back with release, and whether
// it had to be loaded first. Errors are *notCompiled where compiling helps.
func (m *modules) acquire(ctx context.Context, hash string, kind Kind) (code *loaded, cold bool, err error) {
	m.mu.Lock()
	code, found := m.byHash[hash]
	if !found {
		code = &loaded{hash: hash, ready: make(chan struct{})}
		m.byHash[hash] = code
	}
	code.users++
	m.uses++
	code.lastUse = m.uses
	m.mu.Unlock()
	if !found {
		m.load(context.WithoutCancel(ctx), code, kind) // others wait for it, too
	}
	select {
	case <-code.ready:
		err = code.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		m.release(code)
		return nil, false, err
	}
	m.shrink()
	return code, !found, nil
}

// release gives code back.
func (m *modules) release(code *loaded) {
	m.mu.Lock()
	code.users--
	unload := code.users == 0 && m.byHash[code.hash] != code
	m.mu.Unlock()
	if unload {
		code.close()
	}
}

// forget unloads the code of hash as soon as nobody uses it.
func (m *modules) forget(hash string) {
	m.mu.Lock()
	code := m.byHash[hash]
	unload := code != nil && m.remove(code)
	m.mu.Unlock()
	if unload {
		code.close()
	}
}

// remove removes code from the cache, and says whether it can be closed now; otherwise
// the last release closes it. m.mu is held.
func (m *modules) remove(code *loaded) bool {
	delete(m.byHash, code.hash)
	m.size -= code.size
	return code.users == 0
}

// shrink unloads code while all is too large.
func (m *modules) shrink() {
	var unused []*loaded
	m.mu.Lock()
	for m.size > m.limit {
		var oldest *loaded
		for _, code := range m.byHash {
			if code.users == 0 && (oldest == nil || code.lastUse < oldest.lastUse) {
				oldest = code
			}
		}
		if oldest == nil {
			break
		}
		m.remove(oldest)
		unused = append(unused, oldest)
	}
	m.mu.Unlock()
	for _, code := range unused {
		code.close()
	}
}

// load loads code from the store. Code that cannot be loaded does not stay in the cache.
func (m *modules) load(ctx context.Context, code *loaded, kind Kind) {
	size, err := m.read(ctx, code, kind)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byHash[code.hash] == code { // else it was forgotten meanwhile
		code.size = size
		m.size += size
		if err != nil {
			m.remove(code)
		}
	}
	code.err = err
	close(code.ready)
}

// read reads the code from the store.
func (m *modules) read(ctx context.Context, code *loaded, kind Kind) (size int64, err error) {
	size, err = m.store.verify(code.hash)
	if err != nil {
		return 0, err
	}
	folder := m.store.folder(code.hash)
	if kind == JavaScript {
		code.script, err = os.ReadFile(filepath.Join(folder, scriptFile))
	} else {
		err = code.compile(ctx, folder)
	}
	if err != nil {
		return 0, &notCompiled{Hash: code.hash, Corrupt: true}
	}
	return size, nil
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
