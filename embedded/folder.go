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

// folder is the directory of one server. It belongs to the unprivileged user that the
// server runs as, nobody else can read it, and one process at a time holds it.
type folder struct {
	root   string
	owner  *syscall.Credential // nil: the server runs as this process's user
	handle *os.File
	lock   *os.File
	hidden bool // owner cannot reach root by its path
	ports  map[int]reservation
}

// openFolder makes dir if it does not exist, and locks it. It fails if another process
// holds it. asSelf leaves the folder this process's user.
func openFolder(dir string, asSelf bool) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	root, err := filepath.Abs(dir)
	if err == nil {
		root, err = filepath.EvalSymlinks(root) // the form in which /proc shows it
	}
	if err != nil {
		return nil, fmt.Errorf("find the data folder: %w", err)
	}
	f := &folder{root: root}
	if !asSelf {
		if f.owner, err = serverUser(); err != nil {
			return nil, err
		}
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
		return fmt.Errorf("%s is in use by process %s: stop that process, or name another folder", f.root, bytes.TrimSpace(holder))
	}
	if err := f.setOwner(f.root, 0o700); err != nil {
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

// close releases the folder.
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

// path is the path of name for this process.
func (f *folder) path(name string) string { return filepath.Join(f.root, name) }

// inherited is the folder for a child process, which inherits it as file descriptor 3.
const inherited = "/proc/self/fd/3"

// childPath is the path of name for the server. If the server's user cannot pass the
// directories above, such as one that root made with mktemp -d, the path leads through
// the inherited descriptor. A capability would open every other file on the machine to
// the server as well.
func (f *folder) childPath(name string) string {
	if f.hidden {
		return filepath.Join(inherited, name)
	}
	return f.path(name)
}

// makeDir makes a directory in the folder if it does not exist, and gives it to the
// server, even if a crash came between the two before.
func (f *folder) makeDir(name string) error {
	if err := os.Mkdir(f.path(name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make a data folder: %w", err)
	}
	return f.setOwner(f.path(name), 0o700)
}

// emptyDir is makeDir, without what the directory contained.
func (f *folder) emptyDir(name string) error {
	if err := os.RemoveAll(f.path(name)); err != nil {
		return fmt.Errorf("empty a data folder: %w", err)
	}
	return f.makeDir(name)
}

// writeFile writes a whole file into the folder, which only the server and this
// process can read.
func (f *folder) writeFile(name string, content []byte) error {
	next := f.path(name + ".new")
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return fmt.Errorf("write into the data folder: %w", err)
	}
	if err := f.setOwner(next, 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, f.path(name)); err != nil {
		return fmt.Errorf("write into the data folder: %w", err)
	}
	return nil
}

// writeFiles writes several files.
func (f *folder) writeFiles(files map[string][]byte) error {
	for name, content := range files {
		if err := f.writeFile(name, content); err != nil {
			return err
		}
	}
	return nil
}

// readFile returns a file's content without the white space around it, or nil if it does not
// exist.
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

// setOwner gives a file or directory to the server's user, and sets its mode.
func (f *folder) setOwner(path string, mode fs.FileMode) error {
	if f.owner != nil {
		if err := os.Chown(path, int(f.owner.Uid), int(f.owner.Gid)); err != nil {
			return fmt.Errorf("give the data folder to the server's user: %w", err)
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("set the mode of the data folder: %w", err)
	}
	return nil
}

// serverUser is the user that servers run as: an unprivileged one if this process is
// root's, because PostgreSQL refuses root and no server needs it. Otherwise nil.
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

// reaches says whether the permission bits of dir and of all directories above it let u
// pass. Other rules may let u pass even if it says no.
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
