package tree

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chandler-broker/chandler/services"
)

const (
	page = 500 // how many names of a directory are read at a time
	// maxPath is the length of a path beyond which a copy fails: headers have a limit.
	maxPath = 32 << 10
	// maxLinked is how many files with several names are remembered.
	maxLinked = 100_000
)

// archive is a copy that is being written.
type archive struct {
	ctx context.Context
	top *os.File
	tar *tar.Writer
	own Owner
	*tally
	buffer []byte
	linked map[inode]*linkedFile

	special, attributes, changed, separate int // omitted
}

type inode struct{ device, number uint64 }

// Write writes a copy of what a directory holds to w. own is the account of which rights are kept.
func Write(ctx context.Context, dir string, own Owner, w io.Writer) (services.Contents, error) {
	top, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return services.Contents{}, err
	}
	defer top.Close()
	buffered := bufio.NewWriterSize(w, 4*chunkSize)
	a := &archive{
		ctx: ctx, top: top, tar: tar.NewWriter(buffered), own: own, tally: newTally(),
		buffer: make([]byte, chunkSize), linked: map[inode]*linkedFile{},
	}
	if err := a.directory("."); err != nil {
		return services.Contents{}, err
	}
	if err := errors.Join(a.tar.Close(), buffered.Flush()); err != nil {
		return services.Contents{}, err
	}
	contents := a.contents()
	contents.Omitted = a.omitted()
	return contents, nil
}

// directory copies a directory after what it holds, so that nothing changes its time on the way
// back. Only the names of its directories are kept, and no directory stays open.
func (a *archive) directory(name string) error {
	if len(name) > maxPath {
		return fmt.Errorf("directory %s is nested too deep: a path may have %d bytes", quoted(name), maxPath)
	}
	dir, err := openBeneath(a.top, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if isVanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var within []string
	for more := true; more; {
		entries, err := dir.ReadDir(page)
		for _, e := range entries {
			if e.IsDir() {
				within = append(within, e.Name())
			} else if err := a.file(dir, name, e); err != nil {
				return errors.Join(err, dir.Close())
			}
		}
		if more = err == nil; err != nil && !errors.Is(err, io.EOF) && !isVanished(err) {
			return errors.Join(err, dir.Close())
		}
	}
	e, _, err := a.describe(dir, path.Join(name, "."))
	if err := errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, child := range within {
		if err := a.directory(path.Join(name, child)); err != nil {
			return err
		}
	}
	a.add(e, "")
	return a.tar.WriteHeader(e.header(0))
}

// describe reads what is to be known of an open file or directory.
func (a *archive) describe(f *os.File, name string) (entry, *syscall.Stat_t, error) {
	info, err := f.Stat()
	if err != nil {
		return entry{}, nil, err
	}
	stat, _ := info.Sys().(*syscall.Stat_t)
	found, left, err := readAttributes(f, a.own)
	a.attributes += left
	e := entry{name: name, kind: tar.TypeReg, mode: info.Mode().Perm(), time: info.ModTime(), size: info.Size(), attributes: found}
	if info.IsDir() {
		e.kind, e.size = tar.TypeDir, 0
	}
	e.linked = e.kind == tar.TypeReg && stat != nil && stat.Nlink > 1
	return e, stat, err
}

// file copies what is no directory.
func (a *archive) file(dir *os.File, in string, listed fs.DirEntry) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	base := listed.Name()
	name := path.Join(in, base)
	if listed.Type().IsRegular() {
		return a.open(dir, base, name)
	}
	var stat unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &stat, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case isVanished(err):
		return nil
	case err != nil:
		return &fs.PathError{Op: "stat", Path: quoted(name), Err: err}
	case stat.Mode&unix.S_IFMT == unix.S_IFLNK:
		return a.symlink(dir, base, name, stat)
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		a.special++
		return nil
	}
	return a.open(dir, base, name)
}

// open copies a file that was a regular one when it was listed.
func (a *archive) open(dir *os.File, base, name string) error {
	// Neither a pipe that took the file's place nor a lease may hold the call up.
	f, err := openBeneath(dir, base, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if isVanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return a.regular(f, name)
}

func (a *archive) symlink(dir *os.File, base, name string, stat unix.Stat_t) error {
	target := make([]byte, 4096)
	n, err := unix.Readlinkat(int(dir.Fd()), base, target)
	if isVanished(err) || errors.Is(err, unix.EINVAL) { // is no link any more
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "readlink", Path: quoted(name), Err: err}
	}
	e := entry{name: name, kind: tar.TypeSymlink, mode: 0o777, link: string(target[:n]), time: time.Unix(stat.Mtim.Unix())}
	a.add(e, "")
	return a.tar.WriteHeader(e.header(0))
}

// regular copies an open file, or refers to the name under which it was copied.
func (a *archive) regular(f *os.File, name string) error {
	e, stat, err := a.describe(f, name)
	if err != nil {
		return err
	}
	id := inode{}
	if e.linked {
		id = inode{stat.Dev, stat.Ino}
		if first := a.linked[id]; first != nil {
			a.addLink(name, *first)
			return a.tar.WriteHeader(&tar.Header{Format: tar.FormatPAX, Typeflag: tar.TypeLink, Name: name, Linkname: first.name})
		}
	}
	sum := newContentHash()
	dense := stat != nil && stat.Blocks*blockSize >= e.size
	if err := a.content(f, &e, dense, sum); err != nil {
		return fmt.Errorf("copy %s: %w", quoted(name), err)
	}
	a.add(e, sum.String())
	if now, err := f.Stat(); err != nil || !now.ModTime().Equal(e.time) || now.Size() != e.size {
		a.changed++
	}
	if e.linked && len(a.linked) < maxLinked {
		a.linked[id] = &linkedFile{e, sum.String()}
	} else if e.linked {
		a.separate++
	}
	return nil
}

// blockSize is the unit of stat(2)'s blocks.
const blockSize = 512

// content writes a file's header and content. One that is dense is not searched for holes.
func (a *archive) content(f *os.File, e *entry, dense bool, sum contentHash) (err error) {
	parts := []extent{{0, e.size}}
	if !dense {
		if parts, err = extents(f, e.size); err != nil {
			return err
		}
	}
	stored := total(parts)
	if e.sparse = stored != e.size; e.sparse {
		stored += int64(len(parts)) * 16
	} else {
		parts = []extent{{0, e.size}}
	}
	if err := a.tar.WriteHeader(e.header(stored)); err != nil {
		return err
	}
	for _, part := range parts {
		if e.sparse {
			if err := binary.Write(a.tar, binary.BigEndian, []int64{part.offset, part.length}); err != nil {
				return err
			}
		}
		if _, err := a.copyExtent(a.tar, f, part, sum, a.buffer); err != nil {
			return err
		}
	}
	return nil
}

// omitted says what the copy lacks.
func (a *archive) omitted() []string {
	list := []string{"locks, when files were created and last read, and which program's account owned a file"}
	for _, o := range []struct {
		count int
		text  string
	}{
		{a.special, "%d sockets, pipes or devices"},
		{a.attributes, "%d extended attributes that are too large, or rights of accounts that exist only on this server"},
		{a.changed, "%d files changed while they were copied: their copies may mix two states"},
		{a.separate, "%d names of files with several names were copied as files of their own"},
	} {
		if o.count > 0 {
			list = append(list, fmt.Sprintf(o.text, o.count))
		}
	}
	return list
}
