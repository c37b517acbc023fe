package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxChunk is how much of a path one call resolves (PATH_MAX is 4096).
const maxChunk = 4000

// openBeneath opens a path below dir. No part of the path may be a link, or lead out of dir or to
// another file system, whatever others change meanwhile (openat2(2)).
func openBeneath(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	at, rest := int(dir.Fd()), name
	for {
		chunk, more := split(rest)
		how := unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
		}
		if more == "" {
			how.Flags, how.Mode = uint64(flags|unix.O_CLOEXEC|unix.O_NOFOLLOW), uint64(mode) //nolint:gosec // flags are positive
		}
		fd, err := openat2(at, chunk, &how)
		if at != int(dir.Fd()) {
			_ = unix.Close(at)
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: quoted(name), Err: err}
		}
		if more == "" {
			return os.NewFile(uintptr(fd), name), nil
		}
		at, rest = fd, more
	}
}

func openat2(at int, name string, how *unix.OpenHow) (fd int, err error) {
	for {
		fd, err = unix.Openat2(at, name, how)
		// EAGAIN: something was renamed meanwhile, so that the kernel could not be sure.
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

// split splits a path that is too long for one call.
func split(name string) (chunk, more string) {
	if len(name) <= maxChunk {
		return name, ""
	}
	at := strings.LastIndexByte(name[:maxChunk], '/')
	if at < 0 {
		return name, "" // a name that is too long, which the kernel refuses
	}
	return name[:at], name[at+1:]
}

// parent opens the directory of a path, and returns the last name in it.
func parent(dir *os.File, name string) (*os.File, string, error) {
	in, err := openBeneath(dir, path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0)
	return in, path.Base(name), err
}

// isVanished says that a file vanished or became another kind of file after it was listed.
func isVanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO)
}
