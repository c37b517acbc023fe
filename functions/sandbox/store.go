package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
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
// BUILD tells the version of wazero, the machine's kind and the version of the
// metering, so that a new release compiles anew. A folder HASH/BUILD appears by
// a rename, whole, and never changes, so that processes share it without locks.
type store struct {
	root  string
	build string
}

// files of a folder of the store.
const (
	wasmFile     = "module.wasm"
	scriptFile   = "main.js"
	codeFolder   = "code"
	manifestFile = "manifest.json"
)

// errMissing says that the store has not got the code, errCorrupt that what it
// has is damaged.
var (
	errMissing = errors.New("the code is not compiled")
	errCorrupt = errors.New("the compiled code is damaged")
)

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

// fresh makes an empty folder for what is going to be published.
func (s store) fresh() (string, error) {
	folder, err := os.MkdirTemp(s.root, "fresh-")
	if err != nil {
		return "", fmt.Errorf("make a folder for compiled code: %w", err)
	}
	return folder, nil
}

// publish moves folder to its place. It is no error when another process was
// faster.
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

// forget removes the code in all its builds. What a worker has loaded goes on.
func (s store) forget(hash string) error { return s.remove(filepath.Join(s.root, hash)) }

// discard removes one build's folder, which is damaged.
func (s store) discard(hash string) error { return s.remove(s.folder(hash)) }

// remove moves folder away first, so that nobody finds half of it.
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

// sign writes the manifest of folder.
func sign(folder string) error {
	sums := manifest{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		sums[name], err = sum(path)
		return err
	})
	if err != nil {
		return fmt.Errorf("sum up compiled code: %w", err)
	}
	content, err := json.Marshal(sums)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, manifestFile), content, 0o600)
}

func sum(path string) (fileSum, error) {
	file, err := os.Open(path)
	if err != nil {
		return fileSum{}, err
	}
	defer file.Close()
	digest := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	length, err := io.Copy(digest, file)
	return fileSum{Length: length, CRC32C: digest.Sum32()}, err
}

// verify checks the code of hash against its manifest. It finds the damage that
// disks and full file systems do, not an attacker's: who can write the folder
// runs what they like anyway. It returns the sum of the files' lengths.
func (s store) verify(ctx context.Context, hash string) (size int64, err error) {
	folder := s.folder(hash)
	content, err := os.ReadFile(filepath.Join(folder, manifestFile))
	if errors.Is(err, fs.ErrNotExist) && !s.has(hash) {
		return 0, errMissing
	}
	var sums manifest
	if err != nil || json.Unmarshal(content, &sums) != nil || len(sums) == 0 {
		return 0, fmt.Errorf("%w: its manifest cannot be read", errCorrupt)
	}
	for name, wanted := range sums {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		found, err := sum(filepath.Join(folder, name))
		if err != nil || found != wanted {
			return 0, fmt.Errorf("%w: %s is not what was written", errCorrupt, name)
		}
		size += found.Length
	}
	return size, nil
}
