package embeddedtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a small file system that one test can fill.
type Disk struct{ mounted string }

// SmallDisk mounts a file system in memory for t alone. A server on it must be started after
// it, so that it ends before it. If this process may not mount, t is skipped, or fails with
// CI=true.
func SmallDisk(t testing.TB, megabytes int) *Disk {
	t.Helper()
	_, mounted := mountPoint(t)
	err := syscall.Mount("tmpfs", mounted, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%dm,mode=0711", megabytes))
	if errors.Is(err, syscall.EPERM) {
		missing(t, "mounting a small disk needs root: run this test as root")
	}
	if err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() { unmount(t, mounted) })
	return &Disk{mounted}
}

// Dir is a folder on the disk for a server. It does not exist yet.
func (d *Disk) Dir() string { return filepath.Join(d.mounted, "server") }

func (d *Disk) ballast() string { return filepath.Join(d.mounted, "ballast") }

// Fill fills the free space of the disk.
func (d *Disk) Fill(t testing.TB) {
	t.Helper()
	file, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err = file.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the small disk: %v", err)
	}
}

// Clear frees what Fill took.
func (d *Disk) Clear(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		t.Fatal(err)
	}
}
