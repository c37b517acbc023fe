package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mountOf(t testing.TB, folder, path string, readOnly bool) Mount {
	t.Helper()
	identity, err := IdentityOf(folder)
	if err != nil {
		t.Fatal(err)
	}
	return Mount{Path: path, Folder: folder, ReadOnly: readOnly, Identity: identity}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tenant is two mounted folders with a secret beside them.
type tenant struct {
	pool          *Pool
	code          Code
	outside       string
	data, library string
	mounts        func(*Call)
}

func newTenant(t *testing.T) tenant {
	outside := t.TempDir()
	n := tenant{pool: open(t), code: guestCode(t, "guest"), outside: outside, data: filepath.Join(outside, "data"), library: filepath.Join(outside, "library")}
	must(t, os.Mkdir(n.data, 0o750), os.Mkdir(n.library, 0o750), os.Mkdir(filepath.Join(outside, "other"), 0o750),
		os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644),
		os.WriteFile(filepath.Join(outside, "other", "secret"), []byte("secret"), 0o644),
		os.WriteFile(filepath.Join(n.library, "book"), []byte("0123456789"), 0o644))
	mounts := []Mount{mountOf(t, n.data, "/data", false), mountOf(t, n.library, "/library", true)}
	n.mounts = func(c *Call) { c.Mounts = mounts }
	return n
}

// do has the guest do something; the result is its member result, or error.
func (n tenant) do(t *testing.T, parameters fields) (string, Outcome) {
	t.Helper()
	o := run(t, n.pool, n.code, parameters, n.mounts)
	for _, name := range []string{"error", "result"} {
		if text, ok := member(t, o, name).(string); ok {
			return text, o
		}
	}
	return "", o
}

func TestMounts(t *testing.T) {
	n := newTenant(t)
	for _, step := range []struct {
		name       string
		parameters fields
		result     string // a part of what result or error holds; "" for none
		want       fields // members of the result
	}{
		{"make folders", fields{"do": "mkdir", "path": "/data/a/b"}, "", nil},
		{"write", fields{"do": "write", "path": "/data/a/b/c", "text": "hello"}, "", nil},
		{"read", fields{"do": "read", "path": "/data/a/b/c"}, "", fields{"content": "hello"}},
		{"append", fields{"do": "append", "path": "/data/a/b/c", "text": " world"}, "", nil},
		{"read more", fields{"do": "read", "path": "/data/a/../a/b/c"}, "", fields{"content": "hello world"}},
		{"write anew", fields{"do": "write", "path": "/data/a/b/c", "text": "abcdefgh"}, "", nil},
		{"seek", fields{"do": "seek", "path": "/data/a/b/c"}, "", fields{"part": "!de"}},
		{"truncate", fields{"do": "truncate", "path": "/data/a/b/c", "count": 4}, "", nil},
		{"read less", fields{"do": "read", "path": "/data/a/b/c"}, "", fields{"content": "a!cd"}},
		{"set times", fields{"do": "times", "path": "/data/a/b/c"}, "", nil},
		{"look", fields{"do": "stat", "path": "/data/a/b/c"}, "", fields{"size": 4.0, "dir": false, "modified": 2.0}},
		{"rename", fields{"do": "rename", "path": "/data/a/b/c", "to": "/data/a/d"}, "", nil},
		{"link", fields{"do": "link", "path": "/data/a/d", "to": "/data/a/e"}, "", nil},
		{"list", fields{"do": "list", "path": "/data"}, "", fields{"names": []any{"/data", "/data/a", "/data/a/b", "/data/a/d", "/data/a/e"}}},
		{"remove", fields{"do": "remove", "path": "/data/a"}, "", nil},
		{"remove what is not there", fields{"do": "read", "path": "/data/a"}, "No such file", nil},
		{"a folder as a file", fields{"do": "read", "path": "/data"}, "directory", nil},
		{"read only: read", fields{"do": "read", "path": "/library/book"}, "", fields{"content": "0123456789"}},
		{"read only: write", fields{"do": "write", "path": "/library/book", "text": "x"}, "Read-only", nil},
		{"read only: append", fields{"do": "append", "path": "/library/book", "text": "x"}, "Read-only", nil},
		{"read only: make", fields{"do": "write", "path": "/library/new", "text": "x"}, "Read-only", nil},
		{"read only: folder", fields{"do": "mkdir", "path": "/library/new"}, "Read-only", nil},
		{"read only: rename", fields{"do": "rename", "path": "/library/book", "to": "/library/b"}, "Read-only", nil},
		{"read only: link", fields{"do": "link", "path": "/library/book", "to": "/library/b"}, "Read-only", nil},
		{"read only: truncate", fields{"do": "truncate", "path": "/library/book", "count": 1}, "Read-only", nil},
		{"read only: times", fields{"do": "times", "path": "/library/book"}, "Read-only", nil},
		{"read only: remove", fields{"do": "remove", "path": "/library/book"}, "Read-only", nil},
		{"from one to the other", fields{"do": "rename", "path": "/library/book", "to": "/data/book"}, "Not implemented", nil},
		{"a link to the other", fields{"do": "link", "path": "/library/book", "to": "/data/book"}, "Not implemented", nil},
		{"what is not mounted", fields{"do": "list", "path": "/"}, "error", nil},
		{"the machine's files", fields{"do": "read", "path": "/etc/passwd"}, "error", nil},
		{"up", fields{"do": "read", "path": "/data/../secret"}, "error", nil},
		{"a symbolic link", fields{"do": "symlink", "path": "book", "to": "/data/s"}, "not permitted", nil},
		{"an absolute one", fields{"do": "symlink", "path": "/etc", "to": "/data/s"}, "not permitted", nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			text, o := n.do(t, step.parameters)
			failed := text != ""
			if wanted := step.result != ""; failed != wanted || failed && step.result != "error" && !strings.Contains(text, step.result) {
				t.Errorf("%s: %s, want %q in it", o.Status, o.Result, step.result)
			}
			for name, want := range step.want {
				if diff := cmp.Diff(want, member(t, o, name)); diff != "" {
					t.Errorf("%s (-want +got): %s", name, diff)
				}
			}
		})
	}
	if content, err := os.ReadFile(filepath.Join(n.library, "book")); string(content) != "0123456789" {
		t.Errorf("the read-only file is now %q, %v", content, err)
	}
}

// TestMountsHoldLinksIn has another program, with more rights, put links into the folder.
func TestMountsHoldLinksIn(t *testing.T) {
	n := newTenant(t)
	in := func(name string) string { return filepath.Join(n.data, name) }
	must(t,
		os.WriteFile(in("file"), []byte("inside"), 0o644),
		os.Symlink("file", in("inside")),
		os.Symlink("/etc/passwd", in("absolute")),
		os.Symlink("../secret", in("relative")),
		os.Symlink("..", in("up")),
		os.Symlink("../data/file", in("outandin")),
		os.Symlink("nothing", in("nothing")),
		os.Symlink("loop", in("loop")),
		syscall.Mkfifo(in("pipe"), 0o644),
	)
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err, syscall.Bind(socket, &syscall.SockaddrUnix{Name: in("socket")}))
	defer func() { must(t, syscall.Close(socket)) }()
	if text, o := n.do(t, fields{"do": "read", "path": "/data/inside"}); text != "" || member(t, o, "content") != "inside" {
		t.Errorf("a link that stays inside: %s", o.Result)
	}
	for _, act := range []string{"read", "write", "append", "list", "truncate", "times"} {
		for _, path := range []string{"absolute", "relative", "up/secret", "up/other/secret", "outandin", "nothing", "loop", "pipe", "socket", "inside/../../secret"} {
			t.Run(act+" "+path, func(t *testing.T) {
				if act == "list" && !strings.Contains(path, "/") || act == "times" && path == "pipe" {
					t.Skip("that is about the link itself")
				}
				if text, o := n.do(t, fields{"do": act, "path": "/data/" + path, "text": "x"}); text == "" {
					t.Errorf("%s: %s", o.Status, o.Result)
				}
			})
		}
	}
	for _, act := range []string{"rename", "link"} {
		for _, to := range []string{"up/new", "absolute/new"} {
			if text, o := n.do(t, fields{"do": act, "path": "/data/file", "to": "/data/" + to}); text == "" {
				t.Errorf("%s to %s: %s", act, to, o.Result)
			}
		}
		if text, o := n.do(t, fields{"do": act, "path": "/data/up/secret", "to": "/data/stolen"}); text == "" {
			t.Errorf("%s from outside: %s", act, o.Result)
		}
	}
	for _, name := range []string{"secret", "other/secret"} {
		if content, err := os.ReadFile(filepath.Join(n.outside, name)); string(content) != "secret" {
			t.Errorf("%s outside is now %q, %v", name, content, err)
		}
	}
}

func TestMountedFolderMadeAnew(t *testing.T) {
	n := newTenant(t)
	must(t, os.RemoveAll(n.data), os.Mkdir(n.data, 0o750))
	o := run(t, n.pool, n.code, fields{"do": "list", "path": "/data"}, n.mounts)
	if o.Status != InternalError || !strings.Contains(string(o.Result), "mount /data: another folder has taken the place") ||
		strings.Contains(string(o.Result), n.outside) {
		t.Errorf("a new folder: %s: %s", o.Status, o.Result)
	}
	must(t, os.RemoveAll(n.data))
	o = run(t, n.pool, n.code, fields{"do": "list", "path": "/data"}, n.mounts)
	if o.Status != InternalError || strings.Contains(string(o.Result), n.outside) {
		t.Errorf("no folder: %s: %s", o.Status, o.Result)
	}
	must(t, os.Symlink("other", n.data))
	if o = run(t, n.pool, n.code, fields{"do": "list", "path": "/data"}, n.mounts); o.Status != InternalError {
		t.Errorf("a link: %s: %s", o.Status, o.Result)
	}
}

func TestIdentityIsTheSameAfterChanges(t *testing.T) {
	folder := t.TempDir()
	before, err := IdentityOf(folder)
	must(t, err, os.WriteFile(filepath.Join(folder, "a"), nil, 0o600), os.Chmod(folder, 0o711), os.Chtimes(folder, time.Now(), time.Unix(5, 0)))
	after, err := IdentityOf(folder)
	must(t, err)
	if !before.same(after) || before.Inode == 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	moved := folder + "-moved"
	must(t, os.Rename(folder, moved))
	if now, err := IdentityOf(moved); err != nil || !now.same(before) {
		t.Errorf("moved %+v, %v", now, err)
	}
	must(t, os.RemoveAll(moved))
	if _, err := IdentityOf(folder); err == nil {
		t.Error("a missing folder has an identity")
	}
	for name, other := range map[string]Identity{
		"another inode":        {Device: before.Device, Inode: before.Inode + 1, Born: before.Born},
		"born at another time": {Device: before.Device, Inode: before.Inode, Born: before.Born + 1},
	} {
		if before.same(other) {
			t.Errorf("%s is the same", name)
		}
	}
	if (Identity{Device: 1, Inode: 2}).same(Identity{Device: 3, Inode: 2}) {
		t.Error("on file systems without times of birth the device tells")
	}
}

// TestFilesAreTheFoldersOwners: other programs of the folder's owner can use what a call
// created.
func TestFilesAreTheFoldersOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only the administrator gives files away")
	}
	n := newTenant(t)
	must(t, os.Chown(n.data, 12345, 23456))
	for _, act := range []fields{{"do": "write", "path": "/data/f", "text": "x"}, {"do": "mkdir", "path": "/data/d"}, {"do": "append", "path": "/data/f", "text": "x"}} {
		if text, o := n.do(t, act); text != "" {
			t.Fatalf("%s: %s", o.Status, o.Result)
		}
	}
	for name, mode := range map[string]os.FileMode{"f": 0o640, "d": 0o750 | os.ModeDir} {
		info, err := os.Lstat(filepath.Join(n.data, name))
		must(t, err)
		if about, ok := info.Sys().(*syscall.Stat_t); !ok || about.Uid != 12345 || about.Gid != 23456 || info.Mode() != mode {
			t.Errorf("%s: %v, %+v; want %v", name, info.Mode(), about, mode)
		}
	}
}

func TestFilesComeBack(t *testing.T) {
	n := newTenant(t)
	for range 3 {
		_, o := n.do(t, fields{"do": "openmany", "path": "/data", "count": 100000})
		if count, _ := member(t, o, "open").(float64); o.Status != Success || count < 10 || count > 256 {
			t.Errorf("%s: %s", o.Status, o.Result)
		}
	}
}
