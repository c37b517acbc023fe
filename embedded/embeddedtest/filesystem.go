package embeddedtest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Btrfs mounts a btrfs of its own, in a file, and returns its folder. It goes
// with t: what runs on it has to be started after it, so that it ends before
// it. Its size is what truncate(1) takes. It takes root and mkfs.btrfs: without
// them t is skipped, and fails when CI=true.
func Btrfs(t testing.TB, size string) string {
	t.Helper()
	return fileSystem(t, size, "mkfs.btrfs", "btrfs-progs")
}

// Ext4 is Btrfs with another file system; options are of mkfs.ext4.
func Ext4(t testing.TB, size string, options ...string) string {
	t.Helper()
	return fileSystem(t, size, "mkfs.ext4", "e2fsprogs", options...)
}

func fileSystem(t testing.TB, size, mkfs, debian string, options ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "mounting a file system takes root: run this test as root")
	}
	if _, err := exec.LookPath(mkfs); err != nil {
		missing(t, mkfs+" is missing (Debian: apt-get install --no-install-recommends "+debian+")")
	}
	image, mounted := mountPoint(t)
	Command(t, "truncate", "-s", size, image)
	Command(t, mkfs, append(append([]string{"-q"}, options...), image)...)
	Command(t, "mount", "-o", "loop,nosuid,nodev", image, mounted)
	t.Cleanup(func() { unmount(t, mounted) })
	if err := os.Chmod(mounted, 0o711); err != nil { //nolint:gosec // servers run as other users
		t.Fatal(err)
	}
	return mounted
}

// mountPoint is a folder to mount a file system at, where every user can get
// to, and the name of the file beside it that may hold it.
func mountPoint(t testing.TB) (image, mounted string) {
	t.Helper()
	dir := reachableDir(t)
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // servers run as other users
		t.Fatal(err)
	}
	image, mounted = filepath.Join(dir, "image"), filepath.Join(dir, "mounted")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	return image, mounted
}

// reachableDir is a folder that every user can get to, unlike t.TempDir's.
func reachableDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chandler-test-folder-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// unmount takes a file system away also where something still uses it. Helpers of a
// server that was killed may do so for a moment.
func unmount(t testing.TB, mounted string) {
	err := syscall.Unmount(mounted, 0)
	for deadline := time.Now().Add(timeout / 6); errors.Is(err, syscall.EBUSY) && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
		err = syscall.Unmount(mounted, 0)
	}
	if err == nil {
		return
	}
	t.Errorf("unmount the file system: %v", err)
	if out, err := exec.Command("umount", "--lazy", mounted).CombinedOutput(); err != nil { //nolint:noctx // a cleanup's context has ended
		t.Errorf("unmount the file system: %v: %s", err, out)
	}
}

// Command runs a tool to its end, whatever t's context says, and returns what
// it printed. t fails when the tool does.
func Command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:noctx // it may be a cleanup
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// missing ends a test that cannot run here: it is skipped, and fails when
// CI=true.
func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
