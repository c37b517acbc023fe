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

// Empty deletes what a directory holds, or as much as there is time for; done says
// that it was all. A directory that is absent is empty.
//
// Directories are not followed downwards, where they may be deeper than there
// are files to be open or bytes in a path: one that holds others gives them up
// to the top, until none holds any.
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
		name, err := first(top)
		if err != nil || name == "" {
			return err == nil, err
		}
		if done, err := clear(top, name, end); err != nil || !done || time.Now().After(end) {
			return false, err
		}
	}
}

// first is the name of one of the entries of a directory; empty: it has none.
func first(top *os.Root) (string, error) {
	dir, err := top.Open(".")
	if err != nil {
		return "", err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(1)
	if len(entries) == 0 {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return "", err
	}
	return entries[0].Name(), nil
}

// clear deletes a directory in top, whose own directories go up to top.
func clear(top *os.Root, name string, end time.Time) (done bool, err error) {
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
			if err := take(top, path.Join(name, e.Name()), e.IsDir()); err != nil {
				return false, err
			}
			if time.Now().After(end) {
				return false, nil
			}
		}
	}
}

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

// take deletes a file, or an empty directory, or puts a full one into top.
func take(top *os.Root, name string, dir bool) error {
	err := top.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !dir {
		return err
	}
	return top.Rename(name, strconv.FormatInt(time.Now().UnixNano(), 10))
}
