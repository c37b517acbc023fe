package s3

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/chandler-broker/chandler/services"
)

// folder is the gateway's folder of buckets on this machine, on btrfs. There a
// bucket is a subvolume with a quota group, which the kernel holds to its
// limit. "" is none: then nothing is done, and nothing is hard.
type folder string

// ready says what the folder lacks.
func (f folder) ready() error {
	if f == "" {
		return nil
	}
	dir, err := f.open("")
	if err != nil {
		return err
	}
	defer dir.Close()
	if !isBtrfs(dir) {
		return fmt.Errorf("folder: %s is not on btrfs; leave the key out of the backend's configuration, and limits are measured", f)
	}
	if _, err := os.Stat(f.quotas(dir)); err != nil {
		return fmt.Errorf("folder: %s has no quota groups; switch them on: btrfs quota enable %s", f, f)
	}
	return nil
}

// open opens the folder or a bucket in it. What is opened is a directory and no
// link to one.
func (f folder) open(bucket string) (*os.File, error) {
	return os.OpenFile(filepath.Join(string(f), bucket), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
}

// make makes a bucket's subvolume, the gateway's. What is there stays.
func (f folder) make(bucket string) error {
	dir, err := f.open("")
	if err != nil {
		return err
	}
	defer dir.Close()
	var args volumeArgs
	copy(args.name[:], bucket)
	if err := control(dir, subvolumeCreate, &args); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("make a subvolume in %s: %w", f, err)
	}
	made, err := f.open(bucket)
	if err != nil {
		return err
	}
	defer made.Close()
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the folder's owner is not known")
	}
	if err := made.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("give the subvolume to the gateway's user: %w", err)
	}
	return made.Chmod(0o700)
}

// limit sets the limit of a bucket's quota group; 0 is none. hard is false
// where the bucket has no quota group: it was made before the folder was known.
func (f folder) limit(bucket string, size services.Size) (hard bool, err error) {
	made, id, err := f.subvolume(bucket)
	if err != nil || made == nil {
		return false, err
	}
	defer made.Close()
	args := limitArgs{id: id, flags: limitReferenced, referenced: int64(size)}
	if size == 0 {
		args.referenced = -1 // none
	}
	if err := control(made, quotaLimit, &args); err != nil {
		return false, fmt.Errorf("set the limit of the bucket's quota group (it takes the capability CAP_SYS_ADMIN): %w", err)
	}
	return true, nil
}

// used returns the bytes that a bucket's quota group counts.
func (f folder) used(bucket string) (used services.Size, hard bool, err error) {
	made, id, err := f.subvolume(bucket)
	if err != nil || made == nil {
		return 0, false, err
	}
	defer made.Close()
	text, err := os.ReadFile(filepath.Join(f.quotas(made), fmt.Sprintf("0_%d", id), "referenced"))
	if err != nil {
		return 0, false, fmt.Errorf("read the bucket's quota group: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return services.Size(n), true, err
}

// group is the number of a bucket's quota group, 0 where it has none.
func (f folder) group(bucket string) (uint64, error) {
	made, id, err := f.subvolume(bucket)
	if err != nil || made == nil {
		return 0, err
	}
	return id, made.Close()
}

// removeGroup removes the quota group of a subvolume that is gone, which older
// kernels leave to whoever made it.
func (f folder) removeGroup(id uint64) error {
	if id == 0 {
		return nil
	}
	dir, err := f.open("")
	if err != nil {
		return err
	}
	defer dir.Close()
	args := groupArgs{id: id}
	err = control(dir, quotaCreate, &args)
	// Busy is one whose subvolume the kernel still cleans up: it goes with it.
	if err == nil || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EBUSY) {
		return nil
	}
	return fmt.Errorf("remove the bucket's quota group: %w", err)
}

// subvolume opens a bucket's subvolume and returns its number; nil where the
// bucket is none or not there.
func (f folder) subvolume(bucket string) (*os.File, uint64, error) {
	if f == "" {
		return nil, 0, nil
	}
	made, err := f.open(bucket)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := made.Stat()
	stat, ok := info.Sys().(*syscall.Stat_t)
	if err != nil || !ok || stat.Ino != subvolumeInode || !isBtrfs(made) {
		return nil, 0, errors.Join(err, made.Close())
	}
	args := lookupArgs{object: subvolumeInode}
	if err := control(made, inodeLookup, &args); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("find the bucket's quota group: %w", err), made.Close())
	}
	return made, args.tree, nil
}

// quotas is where the kernel shows the file system's quota groups.
func (f folder) quotas(dir *os.File) string {
	var args infoArgs
	if err := control(dir, systemInfo, &args); err != nil {
		return ""
	}
	id := args.id
	return fmt.Sprintf("/sys/fs/btrfs/%x-%x-%x-%x-%x/qgroups", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
