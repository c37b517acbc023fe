package embeddedtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a small file system for one test, to be filled up.
type Disk struct{ mounted string }

// SmallDisk mounts a file system of some megabytes, in memory, which goes with
// t: what runs on it has to be started after it, so that it ends before it.
// Where this process may not mount, t is skipped, and fails when CI=true.
func SmallDisk(t testing.TB, megabytes int) *Disk {
	t.Helper()
	_, mounted := mountPoint(t)
	err := syscall.Mount("tmpfs", mounted, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%dm,mode=0711", megabytes))
	if errors.Is(err, syscall.EPERM) {
		missing(t, "mounting a small disk takes root: run this test as root")
	}
	if err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() { unmount(t, mounted) })
	return &Disk{mounted}
}

// Dir is the folder on the disk that a server may have. It is not there yet.
func (d *Disk) Dir() string { return filepath.Join(d.mounted, "server") }

func (d *Disk) ballast() string { return filepath.Join(d.mounted, "ballast") }

// Fill takes all the room that there is on the disk now.
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

// Clear gives back what Fill took.
func (d *Disk) Clear(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		t.Fatal(err)
	}
}
