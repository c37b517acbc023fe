package manila

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

const (
	folderPrefix = "chandler-cephfs-"
	shareName    = "share"
	keyringName  = "keyring"
	// lockName is a file that a session has locked until its process ends.
	lockName = "lock"
)

// takeFolder makes the folder of a session, with the locked file.
func takeFolder() (folder string, lock *os.File, err error) {
	if folder, err = os.MkdirTemp("", folderPrefix); err != nil {
		return "", nil, err
	}
	fresh := filepath.Join(folder, lockName+".new")
	if lock, err = os.OpenFile(fresh, os.O_CREATE|os.O_RDWR, 0o600); err != nil { //nolint:gosec // our own
		return folder, nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil { // from here on, the name says that it is locked
		err = os.Rename(fresh, filepath.Join(folder, lockName))
	}
	return folder, lock, err
}

// removeLeftovers unmounts what sessions left whose process was killed, as far as it can.
func removeLeftovers() {
	locks, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*", lockName)) // fails only for a bad pattern
	for _, path := range locks {
		lock, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // the pattern's
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = removeFolder(filepath.Dir(path)) // the next one tries again
		}
		_ = lock.Close()
	}
}

// removeFolder removes a session's folder, whose client has ended.
func removeFolder(folder string) error {
	share := filepath.Join(folder, shareName)
	_ = syscall.Unmount(share, syscall.MNT_DETACH) // the removal says if it is still mounted
	var errs []error
	for _, name := range []string{share, filepath.Join(folder, keyringName), filepath.Join(folder, lockName), folder} { // never recursively
		if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
