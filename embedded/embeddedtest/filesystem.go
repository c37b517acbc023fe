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

// Btrfs mounts a btrfs in a file for t alone, and returns its folder. A server on it must be
// started after it, so that it ends before it. size is as for truncate(1). Without root and
// mkfs.btrfs, t is skipped, or fails with CI=true.
func Btrfs(t testing.TB, size string) string {
	t.Helper()
	return fileSystem(t, size, "mkfs.btrfs", "btrfs-progs")
}

// Ext4 is Btrfs with another file system; options are those of mkfs.ext4.
func Ext4(t testing.TB, size string, options ...string) string {
	t.Helper()
	return fileSystem(t, size, "mkfs.ext4", "e2fsprogs", options...)
}

func fileSystem(t testing.TB, size, mkfs, debian string, options ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "mounting a file system needs root: run this test as root")
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

// mountPoint is a folder for a file system, which every user can reach, and the name of a
// file beside it that may contain the file system.
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

// reachableDir is a folder that every user can reach, unlike t.TempDir's.
func reachableDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chandler-test-folder-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// unmount unmounts a file system, even if something still uses it, as helpers of a killed
// server may for a moment.
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

// Command runs a tool to its end, even if t's context has ended, and returns its output. If
// the tool fails, so does t.
func Command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:noctx // it may be a cleanup
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
