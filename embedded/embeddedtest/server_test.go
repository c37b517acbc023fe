package embeddedtest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSweep(t *testing.T) {
	const folderPrefix = "chandler-test-"
	temp := t.TempDir()
	folder := func(name string, age time.Duration) *os.File {
		dir := filepath.Join(temp, name)
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		lock, err := os.Create(filepath.Join(dir, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = lock.Close() })
		if err := os.Chtimes(dir, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return lock
	}
	folder(folderPrefix+"abandoned", time.Hour)
	folder(folderPrefix+"young", time.Second)
	folder("somebody-elses", time.Hour)
	held := folder(folderPrefix+"held", time.Hour)
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}

	sweep(temp, folderPrefix)

	entries, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{folderPrefix + "held", folderPrefix + "young", "somebody-elses"}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("folders left (-want +got):\n%s", diff)
	}
}
