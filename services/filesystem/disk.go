// Package filesystem holds what its backends have in common.
package filesystem

import (
	"fmt"
	"syscall"

	"github.com/chandler-broker/chandler/services"
)

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
