package filesystem

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"time"
)

// Empty deletes what a directory holds, or as much as there is time for. An absent directory is
// empty. It moves nested directories to the top, because they may be nested deeper than files
// can be open or a path can be long.
func Empty(dir string, end time.Time) (done bool, err error) {
	top, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = top.Close() }()
	for {
		entries, err := list(top, ".")
		if err != nil || len(entries) == 0 {
			return err == nil, err
		}
		for _, e := range entries {
			if done, err := remove(top, e.Name(), end); err != nil || !done || time.Now().After(end) {
				return false, err
			}
		}
	}
}

// remove deletes a file or directory in top. Directories within go up to top.
func remove(top *os.Root, name string, end time.Time) (done bool, err error) {
	for {
		err := top.Remove(name)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		entries, listErr := list(top, name)
		if listErr != nil || len(entries) == 0 {
			return false, errors.Join(err, listErr)
		}
		for _, e := range entries {
			if err := lift(top, path.Join(name, e.Name()), e.IsDir()); err != nil {
				return false, err
			}
			if time.Now().After(end) {
				return false, nil
			}
		}
	}
}

// list returns a page of a directory's entries; none if it is empty.
func list(top *os.Root, name string) ([]fs.DirEntry, error) {
	dir, err := top.Open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(page)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return entries, err
}

// lift deletes a file or an empty directory, and moves any other directory to top.
func lift(top *os.Root, name string, dir bool) error {
	err := top.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !dir {
		return err
	}
	return top.Rename(name, strconv.FormatInt(time.Now().UnixNano(), 10))
}
