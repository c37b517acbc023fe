package openstack

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/embedded"
)

//go:embed conf python
var files embed.FS

// databaseNames are the services' databases, by their accounts' name.
var databaseNames = []string{"keystone", "designate", "manila", "trove"}

// ready is what the first start on a machine prepares: a MariaDB with the services' tables, and
// Python's compiled modules.
type ready struct {
	dir string
}

const (
	readyPrefix = "openstack-ready-"
	// readyAge is how long the data of another version, such as another checkout's, is kept after
	// its last use.
	readyAge = 7 * 24 * time.Hour
)

// exists says whether the data is complete, and notes that it is used.
func (r *ready) exists() bool {
	if _, err := os.Stat(r.mariaDB()); err != nil {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(r.dir, now, now) // at worst, it is prepared again
	return true
}

// removeUnused removes the data of other versions. It takes 250 MB.
func removeUnused(cache string) {
	folders, _ := filepath.Glob(filepath.Join(cache, readyPrefix+"*")) // fails only for a bad pattern
	for _, folder := range folders {
		if info, err := os.Stat(folder); err == nil && time.Since(info.ModTime()) > readyAge {
			_ = os.RemoveAll(folder) // the next preparation removes the rest
		}
	}
}

func (r *ready) mariaDB() string { return filepath.Join(r.dir, "data", "mariadb", "data") }

// guest is the data of a new MariaDB, which each guest of Trove copies.
func (r *ready) guest() string { return filepath.Join(r.dir, "data", guestFolder) }

func (r *ready) bytecode() string { return filepath.Join(r.dir, "bytecode") }

// prepare prepares the data, unless this machine has it. Several processes may call it: one works,
// and the others wait.
func (p packages) prepare(ctx context.Context, progress io.Writer) (*ready, error) {
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	hash, err := p.hash(ctx)
	if err != nil {
		return nil, err
	}
	r := &ready{dir: filepath.Join(cache, readyPrefix+hash)}
	if r.exists() {
		return r, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // what is in it has its own mode
		return nil, err
	}
	unlock, err := lock(ctx, r.dir+".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if r.exists() {
		return r, nil
	}
	removeUnused(cache)
	_, _ = fmt.Fprintln(progress, "preparing OpenStack's databases, which takes a minute the first time")
	return r, p.make(ctx, r)
}

// hash identifies everything that the data depends on.
func (p packages) hash(ctx context.Context) (string, error) {
	mariaDB, err := version(ctx, "mariadbd")
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, embedded.ErrNoMariaDB)
	}
	sum := sha256.New()
	sum.Write(mariaDB)
	sum.Write([]byte(packagesFolder))
	err = fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, "ceph") {
			return err
		}
		content, err := files.ReadFile(path)
		sum.Write(content)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:8]), err
}

// lock waits until no other process has the lock.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("wait for another process that prepares OpenStack's databases: %w", ctx.Err())
		}
	}
	return func() { _ = file.Close() }, nil
}

func (p packages) make(ctx context.Context, r *ready) (err error) {
	maker, err := embedded.OpenCommand(ctx, embedded.CommandOptions{Title: "preparation of OpenStack", Dir: r.dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, maker.Stop(ctx)) }()
	if err := maker.MakeDir("bytecode"); err != nil {
		return err
	}
	return maker.MakeData(ctx, func(ctx context.Context, path string) error {
		server, err := embedded.StartMariaDB(ctx, embedded.Options{Dir: filepath.Join(path, "mariadb"), NoSync: true}, nil)
		if err != nil {
			return err
		}
		return errors.Join(p.makeTables(ctx, r, maker, server, path), server.Stop(context.WithoutCancel(ctx)))
	})
}

// makeTables makes the tables of all services, and the data of a new guest of Trove.
func (p packages) makeTables(ctx context.Context, r *ready, maker *embedded.Command, server *embedded.MariaDB, path string) error {
	s := settings{packages: p, mariaDB: server.Address(), databasePassword: rand.Text(), State: maker.Path("."), Keys: maker.Path(".")}
	if err := s.makeDatabases(ctx, server); err != nil {
		return err
	}
	if err := makeKeys(maker); err != nil {
		return err
	}
	tool := func(name string, modules ...string) func() error {
		return func() error {
			run, err := s.python(r, maker, name+"_server.py", "prepare", name+".conf", modules...)
			if err != nil {
				return err
			}
			run.Env = append(run.Env, "TROVE_TEMPLATE="+filepath.Join(path, guestFolder))
			return maker.Tool(ctx, run)
		}
	}
	return parallel(tool("keystone", keystoneModules...), tool("designate"), tool("manila"), tool("trove", troveModules...))
}
