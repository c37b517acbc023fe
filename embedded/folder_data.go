package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

const (
	dataFolder = "data"
	freshData  = "data.new"
)

// hasData says whether the server's data is complete.
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

// makeData has fill fill the folder freshData, unless the data exists. The folder gets
// its name last, so that a crash never leaves half of the data as all of it.
func (f *folder) makeData(ctx context.Context, fill func(context.Context) error) error {
	if exists, err := f.hasData(); err != nil || exists {
		return err
	}
	if err := f.emptyDir(freshData); err != nil {
		return err
	}
	if err := fill(ctx); err != nil {
		return err
	}
	if err := os.Rename(f.path(freshData), f.path(dataFolder)); err != nil {
		return fmt.Errorf("put the new data folder in place: %w", err)
	}
	return nil
}

// storedSecret returns the secret in a file of the folder, or at the first start a
// generated one, which it writes there.
func (f *folder) storedSecret(name string, generate func() string) (string, error) {
	stored, err := f.readFile(name)
	if err != nil || len(stored) > 0 {
		return string(stored), err
	}
	secret := generate()
	return secret, f.writeFile(name, []byte(secret))
}
