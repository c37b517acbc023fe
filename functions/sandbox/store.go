package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// store is the folder of compiled code:
//
//	HASH/BUILD/module.wasm       what is run: the user's code, metered (see meter.go)
//	HASH/BUILD/code/             the machine code, in wazero's form
//	HASH/BUILD/main.js           in place of both, for JavaScript
//	HASH/BUILD/manifest.json     length and checksum of each file
//	fresh-*                      what a process is making
//	trash-*                      what a process is removing
//
// BUILD names the version of wazero, the platform and the version of the metering, so
// that a new release compiles again. A rename creates HASH/BUILD as a whole, and it never
// changes, so that processes share it without locks.
type store struct {
	root  string
	build string
}

const (
	wasmFile     = "module.wasm"
	scriptFile   = "main.js"
	codeFolder   = "code"
	manifestFile = "manifest.json"

	// In a fresh folder: the user's module, and what is going to be published.
	sourceFile = "source.wasm"
	outFolder  = "out"
)

// notCompiled says that the store lacks the compiled code of a hash, or that it is
// damaged. Compiling it helps.
type notCompiled struct {
	Hash    string `json:"hash"` // of code, or of the JavaScript engine
	Corrupt bool   `json:"corrupt,omitempty"`
}

func (e *notCompiled) Error() string { return "the code is not compiled, or damaged: " + e.Hash }

func newStore(root string) store { return store{root: root, build: buildName()} }

// buildName must change whenever what is compiled changes its form.
func buildName() string {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/tetratelabs/wazero" {
				version = module.Version
			}
		}
	}
	return strings.Join([]string{"wazero", version, runtime.GOOS, runtime.GOARCH, meterVersion}, "-")
}

func (s store) folder(hash string) string { return filepath.Join(s.root, hash, s.build) }

func (s store) has(hash string) bool {
	_, err := os.Stat(s.folder(hash))
	return err == nil
}

// leftoverAge is the age of a folder whose process is presumed dead.
const leftoverAge = time.Hour

// removeLeftovers removes what killed processes left behind.
func (s store) removeLeftovers() error {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return fmt.Errorf("read the folder of compiled code: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "fresh-") && !strings.HasPrefix(entry.Name(), "trash-") {
			continue
		}
		info, err := entry.Info()
		if err != nil || time.Since(info.ModTime()) < leftoverAge {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.root, entry.Name())); err != nil {
			return fmt.Errorf("remove what is left of a compilation: %w", err)
		}
	}
	return nil
}

// fresh makes a folder with an outFolder in it for what is going to be published.
func (s store) fresh() (folder string, err error) {
	if folder, err = os.MkdirTemp(s.root, "fresh-"); err == nil {
		err = os.Mkdir(filepath.Join(folder, outFolder), 0o700)
	}
	if err != nil {
		err = fmt.Errorf("make a folder for compiled code: %w", err)
	}
	return folder, err
}

// publish moves folder to its place, unless another process was faster.
func (s store) publish(folder, hash string) (err error) {
	for range 3 { // another process may forget the code between the two steps
		if err = os.MkdirAll(filepath.Join(s.root, hash), 0o700); err != nil {
			break
		}
		if err = os.Rename(folder, s.folder(hash)); err == nil {
			return nil
		}
		if s.has(hash) {
			return os.RemoveAll(folder)
		}
	}
	return fmt.Errorf("publish compiled code: %w", err)
}

// forget removes the code in all its builds. Workers can use what they have loaded.
func (s store) forget(hash string) error { return s.remove(filepath.Join(s.root, hash)) }

// discard removes one build's folder, which is damaged.
func (s store) discard(hash string) error { return s.remove(s.folder(hash)) }

// remove renames folder first, so that no process finds half of it.
func (s store) remove(folder string) error {
	trash, err := os.MkdirTemp(s.root, "trash-")
	if err != nil {
		return fmt.Errorf("remove compiled code: %w", err)
	}
	if err := os.Rename(folder, filepath.Join(trash, "code")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("remove compiled code: %w", err), os.RemoveAll(trash))
	}
	return os.RemoveAll(trash)
}

// manifest is by path, relative to the folder.
type manifest map[string]fileSum

type fileSum struct {
	Length int64  `json:"length"`
	CRC32C uint32 `json:"crc32c"`
}

// sumUp is the manifest of a folder as it is.
func sumUp(folder string) (manifest, error) {
	sums, files := manifest{}, os.DirFS(folder)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == manifestFile {
			return err
		}
		file, err := files.Open(name)
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // it was only read
		digest := crc32.New(crc32.MakeTable(crc32.Castagnoli))
		length, err := io.Copy(digest, file)
		sums[name] = fileSum{Length: length, CRC32C: digest.Sum32()}
		return err
	})
	return sums, err
}

// sign writes the manifest of folder.
func sign(folder string) error {
	sums, err := sumUp(folder)
	if err != nil {
		return fmt.Errorf("sum up compiled code: %w", err)
	}
	content, err := json.Marshal(sums)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, manifestFile), content, 0o600)
}

// verify checks the code of hash against its manifest, and returns its length. It finds
// damage by disks and full file systems, not by attackers: whoever can write the folder
// can run code anyway. The error is a *notCompiled.
func (s store) verify(hash string) (size int64, err error) {
	folder := s.folder(hash)
	content, err := os.ReadFile(filepath.Join(folder, manifestFile))
	if errors.Is(err, fs.ErrNotExist) && !s.has(hash) {
		return 0, &notCompiled{Hash: hash}
	}
	var wanted manifest
	if err == nil {
		err = json.Unmarshal(content, &wanted)
	}
	found, sumErr := sumUp(folder)
	if err != nil || sumErr != nil || len(wanted) == 0 || !maps.Equal(wanted, found) {
		return 0, &notCompiled{Hash: hash, Corrupt: true}
	}
	for _, sum := range found {
		size += sum.Length
	}
	return size, nil
}
