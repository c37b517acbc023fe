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
	"time"
)

const modulePath = "github.com/chandler-broker/chandler"

// ownServer is a server whose main is ours, over the server's own library. It is
// a module of its own, so that its hundreds of dependencies are none of the
// broker's, and is built where it is needed.
type ownServer struct {
	// name is for people, folder the source's in the checkout, main the package
	// in it, binary the beginning of the binaries' names.
	name, folder, main, binary string
	// missing is wrapped by the errors of what cannot be built here.
	missing error
}

// build builds the server, unless that has been done on this machine before, and
// returns the path of its binary. Errors wrap s.missing, or ctx's error.
func (s ownServer) build(ctx context.Context, log io.Writer) (binary string, err error) {
	source, err := s.source(ctx)
	if err != nil {
		return "", err
	}
	hash, err := s.hash(source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: no folder to keep it in: %w", s.missing, err)
	}
	folder := filepath.Join(cache, "chandler")
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // a built server is no secret
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
	return binary, s.compile(ctx, source, binary, log)
}

// source is the folder of the server's source.
func (s ownServer) source(ctx context.Context) (string, error) {
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
		return "", fmt.Errorf("%w: run this inside a checkout of %s, whose folder %s holds the source: %s",
			s.missing, modulePath, s.folder, bytes.TrimSpace(stderr.Bytes()))
	}
	source := filepath.Join(root, s.folder)
	if _, err := os.Stat(filepath.Join(source, "go.sum")); err != nil {
		return "", fmt.Errorf("%w: the checkout in %s is not complete: %w", s.missing, root, err)
	}
	return source, nil
}

// hash tells one version of the source from another.
func (s ownServer) hash(source string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
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
		name, err := filepath.Rel(source, path)
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
func (s ownServer) lock(ctx context.Context, path string) (unlock func(), err error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", s.missing, err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = lock.Close() }, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = lock.Close()
			return nil, fmt.Errorf("wait for another process that builds the %s: %w", s.name, ctx.Err())
		}
	}
}

// compile builds under another name first: a binary that is there is whole.
func (s ownServer) compile(ctx context.Context, source, binary string, log io.Writer) error {
	fmt.Fprintf(log, "building the %s, which takes some minutes the first time\n", s.name)
	fresh := binary + ".new"
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", fresh, s.main)
	build.Dir = source
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	build.Stdout, build.Stderr = log, log
	if err := build.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("build the %s: %w", s.name, ctx.Err())
		}
		return fmt.Errorf("%w: go build in %s: %w", s.missing, source, err)
	}
	if err := os.Rename(fresh, binary); err != nil {
		return fmt.Errorf("%w: %w", s.missing, err)
	}
	return nil
}

// placeProgram returns a path of a built program that the server's user can
// reach: the cache of the user that we are is not one. name is what it is called
// in the folder.
func (f *folder) placeProgram(binary, name string) (string, error) {
	if f.owner == nil {
		return binary, nil
	}
	if err := removeFile(f.path(name)); err != nil {
		return "", err
	}
	if err := os.Link(binary, f.path(name)); err == nil {
		return f.childPath(name), nil
	}
	if err := copyProgram(binary, f.path(name)); err != nil { // another file system
		return "", fmt.Errorf("copy %s into its folder: %w", name, err)
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

// WriteProgram makes a file that can be run at once. Another goroutine starts no
// process meanwhile, which would have the file open for writing until it runs
// its own program: what is open for writing cannot be run (execve(2), ETXTBSY).
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
