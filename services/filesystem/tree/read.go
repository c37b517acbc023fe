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

	"golang.org/x/sys/unix"

	"github.com/chandler-broker/chandler/services"
)

// extraction is a copy that is being read.
type extraction struct {
	ctx  context.Context
	top  *os.File
	own  Owner
	want map[string]int64
	*tally
	buffer []byte
	linked map[string]linkedFile
}

// Read reads a copy that Write wrote into an empty directory. All files belong to own then, and
// none gives its rights to those who run it.
func Read(ctx context.Context, dir string, own Owner, contents services.Contents, r io.Reader) error {
	top, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer top.Close()
	x := &extraction{
		ctx: ctx, top: top, own: own, want: contents.Counts, tally: newTally(),
		buffer: make([]byte, chunkSize), linked: map[string]linkedFile{},
	}
	buffered := bufio.NewReaderSize(r, 4*chunkSize)
	if err := x.entries(tar.NewReader(buffered)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, buffered); err != nil { // its end says that it is complete
		return readFault(err)
	}
	if !x.matches(contents) {
		return errDiffers
	}
	return unix.Syncfs(int(top.Fd()))
}

func readFault(err error) error { return fmt.Errorf("read the copy: %w", err) }

var errDiffers = fmt.Errorf("%w: it does not contain what its description says", errDamaged)

func (x *extraction) matches(contents services.Contents) bool {
	for kind, n := range x.counts {
		if contents.Counts[kind] != n {
			return false
		}
	}
	return x.digest.String() == contents.Digest
}

func (x *extraction) entries(archive *tar.Reader) error {
	for {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return readFault(err)
		}
		e, err := readEntry(h)
		if err != nil {
			return err
		}
		if x.counts[CountFiles] > x.want[CountFiles] {
			return errDiffers
		}
		if err := x.extract(e, archive); err != nil {
			return err
		}
	}
}

func (x *extraction) extract(e entry, content io.Reader) error {
	switch e.kind {
	case tar.TypeDir:
		return x.directory(e)
	case tar.TypeReg:
		return x.file(e, content)
	case tar.TypeSymlink:
		return x.symlink(e)
	case tar.TypeLink:
		return x.link(e)
	}
	return fmt.Errorf("%w: %s is of kind %q", errDamaged, quoted(e.name), e.kind)
}

// in opens the directory that will hold a name, and makes it if it is absent.
func (x *extraction) in(name string) (*os.File, string, error) {
	dir, base, err := parent(x.top, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, base, err
	}
	made, err := x.makeDirectory(path.Dir(name))
	if err != nil {
		return nil, "", err
	}
	return made, base, nil
}

// makeDirectory makes a directory, and those above it, and opens it.
func (x *extraction) makeDirectory(name string) (*os.File, error) {
	dir, err := openBeneath(x.top, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	in, base, err := x.in(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err := unix.Mkdirat(int(in.Fd()), base, 0o700); err != nil {
		return nil, &fs.PathError{Op: "mkdir", Path: quoted(name), Err: err}
	}
	return openBeneath(in, base, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// directory completes a directory, whose files are there.
func (x *extraction) directory(e entry) error {
	dir, err := x.makeDirectory(e.name)
	if err != nil {
		return err
	}
	defer dir.Close()
	x.add(e, "")
	if e.name == "." { // whose owner and rights are the instance's
		return errors.Join(e.attributes.write(dir, x.own), setTime(dir, e))
	}
	return x.complete(dir, e, unix.S_ISGID) // what is made in it belongs to the same group
}

// complete gives an open file its owner, rights, attributes and time.
func (x *extraction) complete(f *os.File, e entry, more uint32) error {
	if err := f.Chown(int(x.own.UID), int(x.own.GID)); err != nil {
		return err
	}
	if err := unix.Fchmod(int(f.Fd()), uint32(e.mode.Perm())|more); err != nil {
		return &fs.PathError{Op: "chmod", Path: quoted(e.name), Err: err}
	}
	if err := e.attributes.write(f, x.own); err != nil {
		return err
	}
	return setTime(f, e)
}

func setTime(f *os.File, e entry) error {
	at := unix.NsecToTimespec(e.time.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), []unix.Timespec{at, at}, 0); err != nil {
		return &fs.PathError{Op: "set the time", Path: quoted(e.name), Err: err}
	}
	return nil
}

func (x *extraction) file(e entry, content io.Reader) (err error) {
	in, base, err := x.in(e.name)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := openBeneath(in, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := newContentHash()
	if e.sparse {
		err = x.sparse(f, e, content, sum)
	} else {
		err = x.write(f, extent{0, e.size}, content, sum)
	}
	if err != nil {
		return err
	}
	if err := f.Truncate(e.size); err != nil {
		return err
	}
	x.add(e, sum.String())
	if e.linked && len(x.linked) < maxLinked {
		x.linked[e.name] = linkedFile{e, sum.String()}
	}
	return x.complete(f, e, 0)
}

// sparse writes the parts of a file with holes.
func (x *extraction) sparse(f *os.File, e entry, content io.Reader, sum contentHash) error {
	for end := int64(0); ; {
		var part [2]int64
		err := binary.Read(content, binary.BigEndian, &part)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return readFault(err)
		}
		offset, length := part[0], part[1]
		if offset < end || offset%chunkSize != 0 || length < 0 || length > e.size-offset {
			return fmt.Errorf("%w: %s has parts that overlap", errDamaged, quoted(e.name))
		}
		if err := x.write(f, extent{offset, length}, content, sum); err != nil {
			return err
		}
		end = offset + length
	}
}

// write writes a part of a file, and leaves holes for what is zero.
func (x *extraction) write(f *os.File, part extent, content io.Reader, sum contentHash) error {
	for at := part.offset; at < part.offset+part.length; at += chunkSize {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		chunk := x.buffer[:min(chunkSize, part.offset+part.length-at)]
		if _, err := io.ReadFull(content, chunk); err != nil {
			return readFault(err)
		}
		if !sum.chunk(at, chunk) {
			continue
		}
		if x.counts[CountBytes] += int64(len(chunk)); x.counts[CountBytes] > x.want[CountBytes] {
			return errDiffers
		}
		if _, err := f.WriteAt(chunk, at); err != nil {
			return err
		}
	}
	return nil
}

func (x *extraction) symlink(e entry) error {
	in, base, err := x.in(e.name)
	if err != nil {
		return err
	}
	defer in.Close()
	x.add(e, "")
	at := unix.NsecToTimespec(e.time.UnixNano())
	err = errors.Join(
		unix.Symlinkat(e.link, int(in.Fd()), base),
		unix.Fchownat(int(in.Fd()), base, int(x.own.UID), int(x.own.GID), unix.AT_SYMLINK_NOFOLLOW),
		unix.UtimesNanoAt(int(in.Fd()), base, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
	if err != nil {
		return &fs.PathError{Op: "make the link", Path: quoted(e.name), Err: err}
	}
	return nil
}

// link gives a file that is there a further name.
func (x *extraction) link(e entry) error {
	first, ok := x.linked[e.link]
	if !ok {
		return fmt.Errorf("%w: %s is another name of a file that the copy does not contain", errDamaged, quoted(e.name))
	}
	from, old, err := parent(x.top, e.link)
	if err != nil {
		return err
	}
	defer from.Close()
	in, base, err := x.in(e.name)
	if err != nil {
		return err
	}
	defer in.Close()
	x.addLink(e.name, first)
	if err := unix.Linkat(int(from.Fd()), old, int(in.Fd()), base, 0); err != nil {
		return &fs.PathError{Op: "link", Path: quoted(e.name), Err: err}
	}
	return nil
}
