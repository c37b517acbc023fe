package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Mount is a folder of this machine that a call sees.
type Mount struct {
	// Path is where the code sees the folder, absolute, "/" excluded.
	Path string `json:"path"`
	// Folder is where it is on this machine, absolute.
	Folder   string `json:"folder"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// Identity is what the folder was when it was mounted. A call fails with
	// InternalError when the folder is another one by now, which may be
	// somebody else's.
	Identity Identity `json:"identity"`
}

// Identity tells a folder from another one that is made later under the same
// name. The zero Identity is no folder's.
type Identity struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// Born is when the folder was made, in nanoseconds since 1970; 0 on file
	// systems that do not say.
	Born int64 `json:"born"`
}

// same says whether both are one folder's. Numbers of devices change when a
// machine starts anew, so they count only where no time of birth is known.
func (i Identity) same(other Identity) bool {
	if i.Inode != other.Inode || i.Born != other.Born {
		return false
	}
	return i.Born != 0 || i.Device == other.Device
}

// IdentityOf returns what folder is now.
func IdentityOf(folder string) (Identity, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return Identity{}, fmt.Errorf("look at the folder: %w", err)
	}
	defer root.Close() //nolint:errcheck // only looked at
	identity, _, err := inspect(root)
	return identity, err
}

// inspect tells what root is, and whose.
func inspect(root *os.Root) (Identity, owner, error) {
	self, err := root.Open(".")
	if err != nil {
		return Identity{}, owner{}, fmt.Errorf("look at the folder: %w", err)
	}
	defer self.Close()
	var about unix.Statx_t
	const want = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	if err := unix.Statx(int(self.Fd()), "", unix.AT_EMPTY_PATH, want, &about); err != nil {
		return Identity{}, owner{}, fmt.Errorf("look at the folder: %w", err)
	}
	identity := Identity{Device: unix.Mkdev(about.Dev_major, about.Dev_minor), Inode: about.Ino}
	if about.Mask&unix.STATX_BTIME != 0 {
		identity.Born = about.Btime.Sec*1e9 + int64(about.Btime.Nsec)
	}
	return identity, owner{user: int(about.Uid), group: int(about.Gid), mode: os.FileMode(about.Mode).Perm()}, nil
}

// errOtherFolder is not shown to users with the folder's name, which is none of
// theirs.
var errOtherFolder = errors.New("it is not the folder any more that was mounted; mount it anew")

// mounted are the file systems of one call, by the guest's path.
type mounted map[string]*folderFS

// mount opens the folders of one call, with one counter of open files for all.
func mount(ctx context.Context, mounts []Mount, files int) (mounted, error) {
	open := mounted{}
	counter := &openFiles{left: files}
	for _, m := range mounts {
		if err := ctx.Err(); err != nil {
			open.close()
			return nil, err
		}
		system, err := openFolder(m, counter)
		if err != nil {
			open.close()
			return nil, fmt.Errorf("mount %s: %w", m.Path, err)
		}
		open[m.Path] = system
	}
	return open, nil
}

func (m mounted) close() {
	for _, system := range m {
		_ = system.root.Close()
	}
}

func openFolder(m Mount, files *openFiles) (*folderFS, error) {
	root, err := os.OpenRoot(m.Folder)
	if err != nil {
		return nil, withoutPath(err)
	}
	identity, whose, err := inspect(root)
	if err == nil && !identity.same(m.Identity) {
		err = errOtherFolder
	}
	if err != nil {
		_ = root.Close()
		return nil, withoutPath(err)
	}
	return &folderFS{root: root, readOnly: m.ReadOnly, owner: whose, files: files}, nil
}

// withoutPath takes the name of a folder of this machine out of an error.
func withoutPath(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
