package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	experimentalsys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
)

// owner owns a mounted folder, and what calls create in it, so that the file system's
// other users can work with it.
type owner struct {
	user, group int
	mode        fs.FileMode
}

// openFiles counts the files that one call has open. It is one goroutine's.
type openFiles struct{ left int }

// folderFS is a folder as a call sees it. It implements experimentalsys.FS, and is one
// goroutine's. os.Root refuses paths that leave the folder, also through a symbolic link
// or while somebody moves folders.
//
// A call can follow links that stay inside, and create none: other programs with more
// rights might follow them out of the folder.
type folderFS struct {
	experimentalsys.UnimplementedFS
	root     *os.Root
	readOnly bool
	owner    owner
	files    *openFiles
}

const writing = experimentalsys.O_RDWR | experimentalsys.O_WRONLY | experimentalsys.O_CREAT |
	experimentalsys.O_TRUNC | experimentalsys.O_APPEND

func (f *folderFS) OpenFile(path string, flag experimentalsys.Oflag, _ fs.FileMode) (experimentalsys.File, experimentalsys.Errno) {
	if f.readOnly && flag&writing != 0 {
		return nil, experimentalsys.EROFS
	}
	if f.files.left <= 0 {
		return nil, experimentalsys.EAGAIN // wazero has no EMFILE
	}
	path = relative(path)
	if flag&experimentalsys.O_NOFOLLOW != 0 {
		if info, err := f.root.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, experimentalsys.ELOOP
		}
	}
	file, err := f.open(path, flag)
	if err != nil {
		return nil, errno(err)
	}
	info, err := file.Stat()
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		err = syscall.EACCES // a named pipe would block, a device is not for calls
	}
	if err != nil {
		_ = file.Close()
		return nil, errno(err)
	}
	f.files.left--
	appends := flag&experimentalsys.O_APPEND != 0
	return &folderFile{file: file, dir: info.IsDir(), appends: appends, readOnly: f.readOnly, files: f.files}, 0
}

// open opens path and, when it makes a file, gives it to the folder's owner.
func (f *folderFS) open(path string, flag experimentalsys.Oflag) (*os.File, error) {
	native := nativeFlags(flag)
	if native&os.O_CREATE == 0 {
		return f.root.OpenFile(path, native, 0)
	}
	for {
		file, err := f.root.OpenFile(path, native|os.O_EXCL, f.owner.mode&0o666)
		if err == nil {
			return file, f.give(file)
		}
		if native&os.O_EXCL != 0 || !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		file, err = f.root.OpenFile(path, native&^os.O_CREATE, 0)
		if !errors.Is(err, fs.ErrNotExist) { // else somebody has just removed it
			return file, err
		}
		if info, err := f.root.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, fs.ErrNotExist // a dangling link
		}
	}
}

func (f *folderFS) give(file *os.File) error {
	if os.Geteuid() != 0 || f.owner.user == 0 && f.owner.group == 0 {
		return nil
	}
	if err := file.Chown(f.owner.user, f.owner.group); err != nil {
		_ = file.Close()
		return err
	}
	return nil
}

// nativeFlags never lets open wait, for a named pipe's other end for example.
func nativeFlags(flag experimentalsys.Oflag) int {
	native := os.O_RDONLY | syscall.O_NONBLOCK
	switch {
	case flag&experimentalsys.O_RDWR != 0:
		native |= os.O_RDWR
	case flag&experimentalsys.O_WRONLY != 0:
		native |= os.O_WRONLY
	}
	for wasi, own := range map[experimentalsys.Oflag]int{
		experimentalsys.O_APPEND: os.O_APPEND, experimentalsys.O_CREAT: os.O_CREATE, experimentalsys.O_EXCL: os.O_EXCL,
		experimentalsys.O_TRUNC: os.O_TRUNC, experimentalsys.O_SYNC: os.O_SYNC,
		experimentalsys.O_DIRECTORY: syscall.O_DIRECTORY, experimentalsys.O_DSYNC: syscall.O_DSYNC,
	} {
		if flag&wasi != 0 {
			native |= own
		}
	}
	return native
}

func (f *folderFS) Lstat(path string) (sys.Stat_t, experimentalsys.Errno) {
	return stat(f.root.Lstat(relative(path)))
}

func (f *folderFS) Stat(path string) (sys.Stat_t, experimentalsys.Errno) {
	return stat(f.root.Stat(relative(path)))
}

func stat(info fs.FileInfo, err error) (sys.Stat_t, experimentalsys.Errno) {
	if err != nil {
		return sys.Stat_t{}, errno(err)
	}
	return sys.NewStat_t(info), 0
}

func (f *folderFS) Mkdir(path string, _ fs.FileMode) experimentalsys.Errno {
	path = relative(path)
	return f.change(func() error {
		if err := f.root.Mkdir(path, f.owner.mode); err != nil {
			return err
		}
		made, err := f.root.Open(path)
		if err != nil {
			return err
		}
		defer made.Close()
		return f.give(made)
	})
}

func (f *folderFS) Rename(from, to string) experimentalsys.Errno {
	return f.change(func() error { return f.root.Rename(relative(from), relative(to)) })
}

func (f *folderFS) Rmdir(path string) experimentalsys.Errno { return f.remove(path, true) }

func (f *folderFS) Unlink(path string) experimentalsys.Errno { return f.remove(path, false) }

// remove removes a folder or something else, which os.Root does not distinguish.
func (f *folderFS) remove(path string, folder bool) experimentalsys.Errno {
	path = relative(path)
	return f.change(func() error {
		info, err := f.root.Lstat(path)
		switch {
		case err != nil:
			return err
		case folder && !info.IsDir():
			return syscall.ENOTDIR
		case !folder && info.IsDir():
			return syscall.EISDIR
		}
		return f.root.Remove(path)
	})
}

func (f *folderFS) Link(from, to string) experimentalsys.Errno {
	return f.change(func() error { return f.root.Link(relative(from), relative(to)) })
}

// Symlink refuses.
func (f *folderFS) Symlink(string, string) experimentalsys.Errno {
	return f.change(func() error { return syscall.EPERM })
}

func (f *folderFS) Readlink(path string) (string, experimentalsys.Errno) {
	target, err := f.root.Readlink(relative(path))
	return target, errno(err)
}

func (f *folderFS) Utimens(path string, accessed, modified int64) experimentalsys.Errno {
	return f.change(func() error {
		file, err := f.root.OpenFile(relative(path), syscall.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		return setTimes(file, accessed, modified)
	})
}

func (f *folderFS) change(do func() error) experimentalsys.Errno {
	if f.readOnly {
		return experimentalsys.EROFS
	}
	return errno(do())
}

// relative is path in os.Root's form. wazero passes "" for the folder itself, and a slash
// at the front of names relative to the folder that a call has opened.
func relative(path string) string {
	if path = strings.Trim(path, "/"); path == "" {
		return "."
	}
	return path
}

// errno is EPERM for the errors of os.Root's own, about paths that leave the folder.
func errno(err error) experimentalsys.Errno {
	var number syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &number), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrClosed):
		return experimentalsys.UnwrapOSError(err)
	}
	return experimentalsys.EPERM
}
