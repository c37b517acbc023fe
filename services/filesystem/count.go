// Package filesystem holds what its backends have in common.
package filesystem

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/services"
)

const (
	page      = 500 // how many names of a directory are read at a time
	blockSize = 512 // of Stat_t.Blocks (stat(2))
)

// Count counts what a directory holds, in several calls. The zero value begins a count.
type Count struct {
	// Bytes is counted on the disk; Files are files and directories.
	Bytes services.Size
	Files int

	pending []string // directories to be counted, by their path
	dir     *os.File // the directory being counted
	in      string   // its path
}

// Advance counts a page, and further ones until the end; whole says that it was the last. What
// vanishes meanwhile does not count. An error ends the count.
func (c *Count) Advance(dir string, end time.Time) (whole bool, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.dir == nil && c.pending == nil {
		c.pending = []string{"."}
	}
	top, err := os.OpenRoot(dir)
	if err != nil {
		return false, err
	}
	defer func() { _ = top.Close() }()
	for !whole && err == nil {
		if whole, err = c.step(top); time.Now().After(end) {
			break
		}
	}
	return whole, err
}

func (c *Count) close() {
	if c.dir != nil {
		_ = c.dir.Close()
		c.dir = nil
	}
}

// step counts a page of the directory being counted, or opens the next one.
func (c *Count) step(top *os.Root) (whole bool, err error) {
	if c.dir == nil {
		if len(c.pending) == 0 {
			return true, nil
		}
		last := len(c.pending) - 1
		c.in, c.pending = c.pending[last], c.pending[:last]
		if c.dir, err = top.Open(c.in); err != nil {
			c.dir = nil
			return false, ignoreVanished(err)
		}
	}
	entries, err := c.dir.ReadDir(page)
	for _, e := range entries {
		if err := c.count(top, path.Join(c.in, e.Name())); err != nil {
			return false, err
		}
	}
	if err == nil {
		return false, nil
	}
	c.close()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return false, ignoreVanished(err)
}

// count counts a file or directory. Each name of a file counts for a part of its size.
func (c *Count) count(top *os.Root, name string) error {
	info, err := top.Lstat(name)
	if err != nil {
		return ignoreVanished(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the file system does not report the disk space of files")
	}
	c.Files++
	if info.IsDir() {
		c.pending = append(c.pending, name)
		c.Bytes += services.Size(stat.Blocks) * blockSize
		return nil
	}
	c.Bytes += services.Size(stat.Blocks) * blockSize / services.Size(max(stat.Nlink, 1)) //nolint:gosec // names of a file are counted in thousands
	return nil
}

// ignoreVanished ignores that a file vanished or became another kind of file.
func ignoreVanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return nil
	}
	return err
}

// Capacity returns the size of a directory's file system, and what others than root can use.
func Capacity(dir string) (c services.Capacity, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return c, fmt.Errorf("ask how much room %s has: %w", dir, err)
	}
	c.Free.Storage = services.Size(s.Bavail) * services.Size(s.Bsize)  //nolint:gosec // blocks of a disk
	c.Total.Storage = services.Size(s.Blocks) * services.Size(s.Bsize) //nolint:gosec // blocks of a disk
	return c, nil
}
