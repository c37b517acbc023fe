package btrfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Snapshots keeps named snapshots of the subvolumes of a folder, in a directory of that folder
// that only its owner, root, can enter. It holds no state: a snapshot's directory is called after
// its name and its time.
type Snapshots struct {
	folder Folder
	dir    string // the name of the directory
	mode   os.FileMode
}

// NewSnapshots are those of one broker, which has a prefix, in a folder. mode is that of their
// directory, which only root may enter.
func NewSnapshots(folder Folder, prefix string, mode os.FileMode) Snapshots {
	return Snapshots{folder: folder, dir: ".snapshots-" + prefix, mode: mode}
}

// Snapshot is a subvolume that shows what another one held at a time.
type Snapshot struct {
	Name string
	Made time.Time // in seconds
}

// timeFormat ends the name of a snapshot's directory, in UTC, in the form that Samba's module for
// previous versions reads. Names contain no @.
const timeFormat = "@GMT-2006.01.02-15.04.05"

func (s Snapshot) file() string { return s.Name + s.Made.UTC().Format(timeFormat) }

// Directory is where the snapshots of a subvolume are.
func (s Snapshots) Directory(of string) string { return filepath.Join(string(s.folder), s.dir, of) }

func (s Snapshots) of(name string) Folder { return Folder(s.Directory(name)) }

// List returns the snapshots of a subvolume, the oldest first.
func (s Snapshots) List(of string) ([]Snapshot, error) {
	if s.folder == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(s.Directory(of))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	var found []Snapshot
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), "@")
		made, err := time.Parse(timeFormat, strings.TrimPrefix(e.Name(), name))
		if err == nil && name != "" {
			found = append(found, Snapshot{name, made})
		}
	}
	slices.SortFunc(found, func(a, b Snapshot) int { return a.Made.Compare(b.Made) })
	return found, nil
}

// Subvolumes returns the names of the subvolumes that have snapshots, or what is left of them.
func (s Snapshots) Subvolumes() ([]string, error) {
	if s.folder == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Join(string(s.folder), s.dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// RemoveAll removes all snapshots of a subvolume.
func (s Snapshots) RemoveAll(of string) error {
	if s.folder == "" {
		return nil
	}
	all, err := s.List(of)
	if err != nil {
		return err
	}
	names := []string{next}
	for _, one := range all {
		names = append(names, one.file())
	}
	for _, name := range names {
		if err := s.of(of).discard(name); err != nil {
			return err
		}
	}
	if err := os.Remove(s.Directory(of)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the snapshots' directory: %w", err)
	}
	_ = os.Remove(filepath.Dir(s.Directory(of))) // if it was the last one
	return nil
}

// make makes a snapshot of an open subvolume, once for each name. most is how many there may be.
func (s Snapshots) make(of, name string, source *os.File, most int) error {
	all, err := s.List(of)
	if err != nil || find(all, name) != nil {
		return err
	}
	if len(all) >= most {
		return tooMany(len(all), most)
	}
	made := time.Now().Truncate(time.Second)
	// The times tell in which order they were made.
	if n := len(all); n > 0 && !all[n-1].Made.Before(made) {
		made = all[n-1].Made.Add(time.Second)
	}
	return s.of(of).clone(source, Snapshot{name, made}.file(), readOnly)
}

func (s Snapshots) remove(of, name string) error {
	all, err := s.List(of)
	if err != nil {
		return err
	}
	if one := find(all, name); one != nil {
		return s.of(of).discard(one.file())
	}
	return nil
}

func find(all []Snapshot, name string) *Snapshot {
	if i := slices.IndexFunc(all, func(one Snapshot) bool { return one.Name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

func tooMany(n, most int) error {
	return services.Rejected("this instance has %d snapshots, and its plan allows %d: remove one, or choose a larger plan", n, most)
}

// lock makes the directory of a subvolume's snapshots, and excludes other changes to them, as by
// a replica that has lost its operation, until unlock.
func (s Snapshots) lock(ctx context.Context, of string) (unlock func(), err error) {
	top := filepath.Dir(s.Directory(of))
	for _, path := range []string{top, s.Directory(of)} {
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the snapshots' directory: %w", err)
		}
	}
	if err := os.Chmod(top, s.mode); err != nil {
		return nil, fmt.Errorf("make the snapshots' directory: %w", err)
	}
	dir, err := s.of(of).open("")
	if err != nil {
		return nil, fmt.Errorf("lock the snapshots: %w", err)
	}
	err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) && ctx.Err() == nil {
		err = services.NotYet(100*time.Millisecond, "waiting for another change to the snapshots")
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}
