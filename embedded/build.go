package embedded

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const modulePath = "github.com/chandler-broker/chandler"

var (
	// ErrNoVault says that the Vault server cannot be built; the text around it says why.
	ErrNoVault = errors.New("the Vault server cannot be built")
	// ErrNoVersityGW says that the Versity S3 Gateway cannot be built.
	ErrNoVersityGW = errors.New("the Versity S3 Gateway cannot be built")
	// ErrNoFunctions says that the function runtime is not installed and cannot be built.
	ErrNoFunctions = errors.New("the function runtime is missing")
)

// BuildVault builds the Vault server of embedded/vaultserver, unless this machine has it, and
// returns its path. The first build takes some minutes; log receives the compiler's output.
// Several processes may call it: one builds, and the others wait.
//
// It needs Go, and a checkout of Chandler around the working directory. Errors wrap ErrNoVault,
// or ctx's error.
func BuildVault(ctx context.Context, log io.Writer) (binary string, err error) {
	return source{title: "Vault server", folder: "embedded/vaultserver", main: ".", binary: "vault", missing: ErrNoVault}.build(ctx, log)
}

// BuildVersityGW is BuildVault for the S3 gateway of embedded/versitygwserver.
func BuildVersityGW(ctx context.Context, log io.Writer) (binary string, err error) {
	s := source{title: "Versity S3 Gateway", folder: "embedded/versitygwserver", main: ".", binary: "versitygw", missing: ErrNoVersityGW}
	return s.build(ctx, log)
}

// BuildFunctions is BuildVault for the program chandler-functions.
func BuildFunctions(ctx context.Context, log io.Writer) (binary string, err error) {
	s := source{title: "function runtime", folder: "functions", main: "./cmd/chandler-functions", binary: functionsProgram, missing: ErrNoFunctions}
	return s.build(ctx, log)
}

// source is the source of a server whose main package is ours. It is a module of its own, so
// that its hundreds of dependencies are not the broker's.
type source struct {
	title   string
	folder  string // in the checkout
	main    string // the package in the folder
	binary  string // the beginning of the binaries' names
	missing error  // what errors wrap if it cannot be built
}

// build builds the server, unless this machine has it, and returns its path.
func (s source) build(ctx context.Context, log io.Writer) (binary string, err error) {
	dir, err := s.find(ctx)
	if err != nil {
		return "", err
	}
	hash, err := s.hash(dir)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: find a folder for it: %w", s.missing, err)
	}
	folder := filepath.Join(cache, "chandler")
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // a built server is not secret
		return "", fmt.Errorf("%w: make the cache folder: %w", s.missing, err)
	}
	binary = filepath.Join(folder, s.binary+"-"+hash)
	unlock, err := s.lock(ctx, binary+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	return binary, s.compile(ctx, dir, binary, log)
}

// find returns the folder of the source.
func (s source) find(ctx context.Context) (string, error) {
	var stderr bytes.Buffer
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", modulePath)
	list.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	list.Stderr = &stderr
	out, err := list.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%w: install Go (https://go.dev/dl) and put it into PATH: %w", s.missing, err)
	}
	root := strings.TrimSpace(string(out))
	if err != nil || root == "" {
		return "", fmt.Errorf("%w: run this inside a checkout of %s, whose folder %s contains the source: %s",
			s.missing, modulePath, s.folder, bytes.TrimSpace(stderr.Bytes()))
	}
	dir := filepath.Join(root, s.folder)
	if _, err := os.Stat(filepath.Join(dir, "go.sum")); err != nil {
		return "", fmt.Errorf("%w: the checkout in %s is incomplete: %w", s.missing, root, err)
	}
	return dir, nil
}

// hash identifies the version of the source.
func (s source) hash(dir string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			return fs.SkipDir
		case !entry.Type().IsRegular() || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".md"):
			return nil
		}
		content, err := os.ReadFile(path) //nolint:gosec // the checkout is the caller's own
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		fmt.Fprintf(sum, "%s %d\n", name, len(content))
		sum.Write(content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%w: read its source: %w", s.missing, err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:12]), nil
}

// lock waits until no other process builds.
func (s source) lock(ctx context.Context, path string) (unlock func(), err error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", s.missing, err)
	}
	if err := poll(ctx, func() bool { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil }); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("wait for another process that builds the %s: %w", s.title, err)
	}
	return func() { _ = lock.Close() }, nil
}

// compile builds under another name first, so that an existing binary is complete.
func (s source) compile(ctx context.Context, dir, binary string, log io.Writer) error {
	fmt.Fprintf(log, "building the %s, which takes some minutes the first time\n", s.title)
	fresh := binary + ".new"
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", fresh, s.main)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	build.Stdout, build.Stderr = log, log
	if err := build.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("build the %s: %w", s.title, ctx.Err())
		}
		return fmt.Errorf("%w: go build in %s: %w", s.missing, dir, err)
	}
	if err := os.Rename(fresh, binary); err != nil {
		return fmt.Errorf("%w: %w", s.missing, err)
	}
	return nil
}

// placeProgram returns a path of a built program that the server's user can reach. Unless it
// is this process's user, that is a file in the folder, called name.
func (f *folder) placeProgram(binary, name string) (string, error) {
	if f.owner == nil {
		return binary, nil
	}
	err := os.RemoveAll(f.path(name))
	if err == nil && os.Link(binary, f.path(name)) != nil { // another file system
		err = copyProgram(binary, f.path(name))
	}
	if err != nil {
		return "", fmt.Errorf("place %s in its folder: %w", name, err)
	}
	return f.childPath(name), nil
}

func copyProgram(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	return WriteProgram(to, source)
}

// WriteProgram writes a file that can be run at once. It prevents other goroutines from starting
// a process meanwhile, because that process would inherit the file, open for writing, and such
// a file cannot be run (execve(2), ETXTBSY).
func WriteProgram(path string, content io.Reader) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755) //nolint:gosec // another user runs it
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
