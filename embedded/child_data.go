package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	dataFolder = "data"
	freshData  = "data.new"
)

// hasData says whether the server's data was made, to the end.
func (f *folder) hasData() (bool, error) {
	_, err := os.Stat(f.path(dataFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find the data folder: %w", err)
	}
	return true, nil
}

// makeData makes the server's data. fill fills the folder freshData, which is
// given its name last: what a crash leaves half-made is not taken for data.
func (f *folder) makeData(fill func() error) error {
	if err := os.RemoveAll(f.path(freshData)); err != nil {
		return fmt.Errorf("remove a half-made data folder: %w", err)
	}
	if err := f.makeDir(freshData); err != nil {
		return err
	}
	if err := fill(); err != nil {
		return err
	}
	if err := os.Rename(f.path(freshData), f.path(dataFolder)); err != nil {
		return fmt.Errorf("put the new data folder in place: %w", err)
	}
	return nil
}

// keptSecret returns the secret in a file of the folder, which is made where it
// is missing.
func (f *folder) keptSecret(name string) (string, error) {
	kept, err := f.readFile(name)
	if err != nil || len(kept) > 0 {
		return string(kept), err
	}
	secret := rand.Text()
	return secret, f.writeFile(name, []byte(secret))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", filepath.Base(path), err)
	}
	return nil
}
