package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// folder is the directory of one server. It belongs to that server alone: to
// the unprivileged user that the server runs as, readable by nobody else, and
// held by one process at a time.
type folder struct {
	root   string
	owner  *syscall.Credential // nil: the server runs as we do
	handle *os.File
	lock   *os.File
	hidden bool // owner cannot get to root by its path
	ports  map[int]reservation
}

// openFolder makes dir where it does not exist, and takes it. It is an error
// when another process holds it.
func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	root, err := filepath.Abs(dir)
	if err == nil {
		root, err = filepath.EvalSymlinks(root) // as the kernel tells it in /proc
	}
	if err != nil {
		return nil, fmt.Errorf("find the data folder: %w", err)
	}
	f := &folder{root: root}
	if f.owner, err = serverUser(); err != nil {
		return nil, err
	}
	if err := f.take(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *folder) take() (err error) {
	if f.lock, err = os.OpenFile(f.path("lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("open the lock of the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(f.lock)
		return fmt.Errorf("%s is in use by process %s: stop that one first, or name another folder", f.root, bytes.TrimSpace(holder))
	}
	if err := f.own(f.root, 0o700); err != nil {
		return err
	}
	if f.handle, err = os.Open(f.root); err != nil {
		return fmt.Errorf("open the data folder: %w", err)
	}
	f.hidden = f.owner != nil && !reaches(f.owner, filepath.Dir(f.root))
	_ = f.lock.Truncate(0)
	_, err = f.lock.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	return err
}

// close gives the folder back.
func (f *folder) close() {
	for port := range f.ports {
		f.release(port)
	}
	for _, file := range []*os.File{f.handle, f.lock} {
		if file != nil {
			_ = file.Close()
		}
	}
}

// path is where name is for this process.
func (f *folder) path(name string) string { return filepath.Join(f.root, name) }

// childPath is where name is for the server. Below a directory that its user
// cannot pass, such as one of mktemp -d made by root, it is reached through the
// file descriptor that the child inherits: that needs no capability, which
// would open every other file on the machine to the server as well.
func (f *folder) childPath(name string) string {
	if f.hidden {
		return filepath.Join("/proc/self/fd/3", name)
	}
	return f.path(name)
}

// makeDir makes a directory in the folder, the server's own.
func (f *folder) makeDir(name string) error {
	if err := os.Mkdir(f.path(name), 0o700); err != nil {
		return fmt.Errorf("make a data folder: %w", err)
	}
	return f.own(f.path(name), 0o700)
}

// writeFile writes a file into the folder, all or nothing, readable by the
// server and by us.
func (f *folder) writeFile(name string, content []byte) error {
	next := f.path(name + ".new")
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return fmt.Errorf("write into the data folder: %w", err)
	}
	if err := f.own(next, 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, f.path(name)); err != nil {
		return fmt.Errorf("write into the data folder: %w", err)
	}
	return nil
}

// readFile returns a file's content without white space around it, and nil
// where there is no such file.
func (f *folder) readFile(name string) ([]byte, error) {
	content, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read from the data folder: %w", err)
	}
	return bytes.TrimSpace(content), nil
}

func (f *folder) own(path string, mode fs.FileMode) error {
	if f.owner != nil {
		if err := os.Chown(path, int(f.owner.Uid), int(f.owner.Gid)); err != nil {
			return fmt.Errorf("give the data folder to the server's user: %w", err)
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("close the data folder to others: %w", err)
	}
	return nil
}

// serverUser is who servers run as: as we do, unless that is root, which
// PostgreSQL refuses and no server needs.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("servers do not run as root, and this machine has neither a user postgres nor a user nobody: run this as an ordinary user")
}

// reaches says whether the permission bits of dir and of everything above it
// let u pass. It may be wrong in saying no, never in saying yes.
func reaches(u *syscall.Credential, dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	passes := info.Mode().Perm()&0o001 != 0 // others
	switch {
	case stat.Uid == u.Uid:
		passes = info.Mode().Perm()&0o100 != 0
	case stat.Gid == u.Gid:
		passes = info.Mode().Perm()&0o010 != 0
	}
	parent := filepath.Dir(dir)
	return passes && (parent == dir || reaches(u, parent))
}

// lastLines is the end of a log file, for an error's text.
func lastLines(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(content) > 600 {
		content = content[len(content)-600:]
		if i := bytes.IndexByte(content, '\n'); i >= 0 {
			content = content[i+1:]
		}
	}
	return string(bytes.TrimSpace(content))
}
