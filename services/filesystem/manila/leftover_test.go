package manila

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What a killed process had mounted is unmounted and removed; what a living one has stays.
func TestLeftovers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	t.Setenv("TMPDIR", t.TempDir())
	mounted := func() (string, *os.File) {
		folder, lock, err := takeFolder()
		if err == nil {
			err = errors.Join(os.WriteFile(filepath.Join(folder, keyringName), nil, 0o600), os.Mkdir(filepath.Join(folder, shareName), 0o700))
		}
		if err == nil {
			err = syscall.Mount("tmpfs", filepath.Join(folder, shareName), "tmpfs", 0, "size=1m")
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = removeFolder(folder) })
		if err := os.WriteFile(filepath.Join(folder, shareName, "file"), []byte("a tenant's"), 0o600); err != nil {
			t.Fatal(err)
		}
		return folder, lock
	}
	dead, lock := mounted()
	if err := lock.Close(); err != nil { // as the kernel does at the end of a process
		t.Fatal(err)
	}
	alive, held := mounted()
	defer held.Close()
	removeLeftovers()
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of a dead process: %v", err)
	}
	if _, err := os.Stat(filepath.Join(alive, shareName, "file")); err != nil {
		t.Errorf("the share of a living process: %v", err)
	}
}
