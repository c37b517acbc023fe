package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"os"

	experimentalsys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
	"golang.org/x/sys/unix"
)

// folderFile is an open file or folder of a folderFS. It implements
// experimentalsys.File, and is one goroutine's.
type folderFile struct {
	experimentalsys.UnimplementedFile
	file     *os.File
	dir      bool
	appends  bool
	readOnly bool
	files    *openFiles
}

// place is an offset in a file. The name tells go vet that Seek is not meant to
// be io.Seeker's.
type place = int64

func (f *folderFile) Ino() (sys.Inode, experimentalsys.Errno) {
	about, errno := f.Stat()
	return about.Ino, errno
}

func (f *folderFile) IsDir() (bool, experimentalsys.Errno) { return f.dir, 0 }

func (f *folderFile) IsAppend() bool { return f.appends }

func (f *folderFile) SetAppend(enable bool) experimentalsys.Errno {
	flags, err := unix.FcntlInt(f.file.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return errno(err)
	}
	flags &^= unix.O_APPEND
	if enable {
		flags |= unix.O_APPEND
	}
	if _, err := unix.FcntlInt(f.file.Fd(), unix.F_SETFL, flags); err != nil {
		return errno(err)
	}
	f.appends = enable
	return 0
}

func (f *folderFile) Stat() (sys.Stat_t, experimentalsys.Errno) { return stat(f.file.Stat()) }

func (f *folderFile) Read(buf []byte) (int, experimentalsys.Errno) {
	return transferred(f.file.Read(buf))
}

func (f *folderFile) Pread(buf []byte, offset int64) (int, experimentalsys.Errno) {
	return transferred(f.file.ReadAt(buf, offset))
}

func (f *folderFile) Seek(to place, whence int) (int64, experimentalsys.Errno) {
	at, err := f.file.Seek(to, whence)
	return at, errno(err)
}

func (f *folderFile) Readdir(n int) ([]experimentalsys.Dirent, experimentalsys.Errno) {
	if !f.dir {
		return nil, experimentalsys.ENOTDIR
	}
	entries, err := f.file.ReadDir(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errno(err)
	}
	list := make([]experimentalsys.Dirent, 0, len(entries))
	for _, entry := range entries {
		list = append(list, experimentalsys.Dirent{Name: entry.Name(), Ino: f.inode(entry), Type: entry.Type()})
	}
	return list, 0
}

// inode is 0, which WASI allows for unknown, when the entry is gone by now.
func (f *folderFile) inode(entry fs.DirEntry) uint64 {
	var about unix.Stat_t
	if err := unix.Fstatat(int(f.file.Fd()), entry.Name(), &about, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0
	}
	return about.Ino
}

func (f *folderFile) Write(buf []byte) (int, experimentalsys.Errno) {
	if f.dir {
		return 0, experimentalsys.EISDIR
	}
	return transferred(f.file.Write(buf))
}

func (f *folderFile) Pwrite(buf []byte, offset int64) (int, experimentalsys.Errno) {
	switch {
	case f.dir:
		return 0, experimentalsys.EISDIR
	case f.appends: // what Linux does, and os.File refuses
		return transferred(f.file.Write(buf))
	}
	return transferred(f.file.WriteAt(buf, offset))
}

func (f *folderFile) Truncate(size int64) experimentalsys.Errno {
	switch {
	case f.dir:
		return experimentalsys.EISDIR
	case size < 0:
		return experimentalsys.EINVAL
	}
	return errno(f.file.Truncate(size))
}

func (f *folderFile) Sync() experimentalsys.Errno { return errno(f.file.Sync()) }

func (f *folderFile) Datasync() experimentalsys.Errno {
	return errno(unix.Fdatasync(int(f.file.Fd())))
}

func (f *folderFile) Utimens(accessed, modified int64) experimentalsys.Errno {
	if f.readOnly {
		return experimentalsys.EROFS
	}
	return errno(setTimes(f.file, accessed, modified))
}

func (f *folderFile) Close() experimentalsys.Errno {
	err := f.file.Close()
	if err == nil {
		f.files.left++
	}
	return errno(err)
}

// transferred gives the end of a file WASI's form: no bytes and no error.
func transferred(n int, err error) (int, experimentalsys.Errno) {
	if errors.Is(err, io.EOF) {
		return n, 0
	}
	return n, errno(err)
}

// setTimes sets the times, in nanoseconds since 1970, of an open file.
func setTimes(file *os.File, accessed, modified int64) error {
	times := []unix.Timespec{timespec(accessed), timespec(modified)}
	return unix.UtimesNanoAt(int(file.Fd()), "", times, unix.AT_EMPTY_PATH)
}

func timespec(nanoseconds int64) unix.Timespec {
	if nanoseconds == experimentalsys.UTIME_OMIT {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.NsecToTimespec(nanoseconds)
}
