package embedded

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const modulePath = "github.com/chandler-broker/chandler"

// ErrNoVault is returned, wrapped, where the Vault server cannot be built. The
// text around it says what is missing.
var ErrNoVault = errors.New("the Vault server cannot be built")

// BuildVault builds the Vault server of embedded/vaultserver, unless that has
// been done on this machine before, and returns the path of its binary. The
// first build takes some minutes; log gets the compiler's words. Several
// processes may call it at once: one builds, the others wait for it.
//
// It needs Go and a checkout of Chandler around the working directory. Errors
// wrap ErrNoVault, or ctx's error.
func BuildVault(ctx context.Context, log io.Writer) (binary string, err error) {
	source, err := vaultSource(ctx)
	if err != nil {
		return "", err
	}
	hash, err := hashSources(source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: no folder to keep it in: %w", ErrNoVault, err)
	}
	folder := filepath.Join(cache, "chandler")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("%w: make the cache folder: %w", ErrNoVault, err)
	}
	binary = filepath.Join(folder, "vault-"+hash)
	unlock, err := lockBuild(ctx, binary+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	return binary, buildVault(ctx, source, binary, log)
}

// vaultSource is the folder of the server's source: a module of its own, so
// that Vault's hundreds of dependencies are none of the broker's.
func vaultSource(ctx context.Context) (string, error) {
	var stderr bytes.Buffer
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", modulePath)
	list.Env = append(os.Environ(), "GOWORK=off")
	list.Stderr = &stderr
	out, err := list.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%w: install Go (https://go.dev/dl) and put it into PATH: %w", ErrNoVault, err)
	}
	root := strings.TrimSpace(string(out))
	if err != nil || root == "" {
		return "", fmt.Errorf("%w: run this inside a checkout of %s, whose folder embedded/vaultserver holds the source: %s",
			ErrNoVault, modulePath, bytes.TrimSpace(stderr.Bytes()))
	}
	source := filepath.Join(root, "embedded", "vaultserver")
	if _, err := os.Stat(filepath.Join(source, "go.sum")); err != nil {
		return "", fmt.Errorf("%w: the checkout in %s is not complete: %w", ErrNoVault, root, err)
	}
	return source, nil
}

// hashSources tells one version of the source from another.
func hashSources(source string) (string, error) {
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoVault, err)
	}
	files = append(files, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum"))
	slices.Sort(files)
	sum := sha256.New()
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("%w: read its source: %w", ErrNoVault, err)
		}
		fmt.Fprintf(sum, "%s %d\n", filepath.Base(file), len(content))
		sum.Write(content)
	}
	return hex.EncodeToString(sum.Sum(nil)[:12]), nil
}

// lockBuild waits until no other process builds.
func lockBuild(ctx context.Context, path string) (unlock func(), err error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoVault, err)
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
			return nil, fmt.Errorf("wait for another process that builds the Vault server: %w", ctx.Err())
		}
	}
}

// buildVault builds under another name first: a binary that is there is whole.
func buildVault(ctx context.Context, source, binary string, log io.Writer) error {
	fmt.Fprintln(log, "building the Vault server, which takes some minutes the first time")
	fresh := binary + ".new"
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", fresh, ".")
	build.Dir = source
	build.Env = append(os.Environ(), "GOWORK=off")
	build.Stdout, build.Stderr = log, log
	if err := build.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("build the Vault server: %w", ctx.Err())
		}
		return fmt.Errorf("%w: go build in %s: %w", ErrNoVault, source, err)
	}
	if err := os.Rename(fresh, binary); err != nil {
		return fmt.Errorf("%w: %w", ErrNoVault, err)
	}
	return nil
}
