package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chandler-broker/chandler/services"
)

// Change is what an update does to the snapshots of a subvolume.
type Change struct {
	Subvolume      string
	Previous, Next Params
	// Operation is that of services.UpdateRequest.
	Operation string
	// Before and Most are how many snapshots the previous and the next plan allow.
	Before, Most int
	// Limit is that of the subvolume; 0 is no limit.
	Limit services.Size
	// Released returns nil once nobody uses what was the subvolume before a time.
	Released func(ctx context.Context, before time.Time) error
}

// next is the subvolume that takes the place of another one, and then what was there before.
const next = ".next"

// operationAttribute of a subvolume names the operation that put it in its place. Only root sees
// attributes of this kind.
const operationAttribute = "trusted.chandler.undo"

// Apply does what an update's parameters ask for. It may be repeated after a crash at any place,
// and undone by a change with Previous and Next exchanged.
func (s Snapshots) Apply(ctx context.Context, c Change) error {
	err := s.apply(ctx, c)
	if errors.Is(err, unix.ENOSPC) {
		return services.OutOfCapacity(err)
	}
	return err
}

func (s Snapshots) apply(ctx context.Context, c Change) error {
	if s.folder == "" {
		return nil
	}
	if err := s.allowed(c); err != nil {
		return err
	}
	if _, err := os.Lstat(s.Directory(c.Subvolume)); err != nil && c.Next.count() == 0 {
		return nil // it never had snapshots
	}
	source, _, err := s.folder.subvolume(c.Subvolume)
	if err != nil {
		return err
	}
	if source == nil {
		return s.explainAbsent(c)
	}
	defer source.Close()
	unlock, err := s.lock(ctx, c.Subvolume)
	if err != nil {
		return err
	}
	defer unlock()
	switch {
	case c.Next.Undo != nil:
		return s.undo(ctx, c, source)
	case c.Previous.Undo != nil:
		return s.undoUndo(ctx, c, source)
	}
	if err := s.of(c.Subvolume).discard(next); err != nil { // which an undo left that was given up
		return err
	}
	switch {
	case c.Next.Snapshot != nil:
		return s.make(c.Subvolume, c.Next.Snapshot.Name, source, c.Most)
	case c.Next.RemoveSnapshot != nil:
		return s.remove(c.Subvolume, c.Next.RemoveSnapshot.Name)
	}
	return nil
}

// allowed rejects a plan that allows fewer snapshots than there are.
func (s Snapshots) allowed(c Change) error {
	if c.Most >= c.Before {
		return nil
	}
	all, err := s.List(c.Subvolume)
	if err == nil && len(all) > c.Most {
		return services.Rejected("plan_id: this instance has %d snapshots, and the plan allows %d: remove snapshots first", len(all), c.Most)
	}
	return err
}

// explainAbsent is the error of an instance that is not a subvolume.
func (s Snapshots) explainAbsent(c Change) error {
	path := filepath.Join(string(s.folder), c.Subvolume)
	if _, err := os.Lstat(path); err != nil || c.Next.count() == 0 {
		return err
	}
	return services.Rejected("this instance has no snapshots, because it was made before its server had the file system btrfs: create a new instance, and copy the contents")
}

// undo exchanges the subvolume with a copy of the snapshot. Once nobody uses it any more, the
// former one is removed.
func (s Snapshots) undo(ctx context.Context, c Change, current *os.File) error {
	if attribute(current, operationAttribute) != c.Operation {
		if err := s.replace(ctx, c, current); err != nil {
			return err
		}
	}
	former, _, err := s.of(c.Subvolume).subvolume(next)
	if err != nil || former == nil { // the repetition of a call that has removed it
		return err
	}
	defer former.Close()
	all, err := s.List(c.Subvolume)
	if err != nil {
		return err
	}
	if keep := c.Next.Undo.Keep; keep == "" || find(all, keep) == nil {
		if err := s.released(ctx, c); err != nil {
			return err
		}
		if keep != "" {
			if err := s.make(c.Subvolume, keep, former, c.Most); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.of(c.Subvolume).discard(next)
}

// replace puts a copy of the snapshot into the subvolume's place, and that into the copy's.
func (s Snapshots) replace(ctx context.Context, c Change, current *os.File) error {
	target, err := s.target(c)
	if err != nil {
		return err
	}
	defer target.Close()
	own := s.of(c.Subvolume)
	for _, step := range []func() error{
		func() error { return own.discard(next) },
		func() error { return own.clone(target, next, 0) },
		// It has the snapshot's limit, under which marking it would fail if it is full.
		func() error { return own.Limit(next, 0) },
		func() error { return own.mark(current, c.Operation) },
		func() error { return own.Limit(next, c.Limit) },
		func() error { return s.exchange(c.Subvolume) },
	} {
		if err := errors.Join(ctx.Err(), step()); err != nil {
			return err
		}
	}
	return nil
}

// target opens the snapshot that an undo names.
func (s Snapshots) target(c Change) (*os.File, error) {
	all, err := s.List(c.Subvolume)
	if err != nil {
		return nil, err
	}
	to, keep := find(all, c.Next.Undo.To), c.Next.Undo.Keep
	switch {
	case to == nil:
		return nil, services.Rejected("parameters.undo.to: this instance has no snapshot %q; fetch the instance to see its snapshots", c.Next.Undo.To)
	case keep != "" && find(all, keep) != nil:
		return nil, services.Rejected("parameters.undo.keep: this instance has a snapshot %q already; choose another name, or remove that one", keep)
	case keep != "" && len(all) >= c.Most:
		return nil, tooMany(len(all), c.Most)
	}
	target, _, err := s.of(c.Subvolume).subvolume(to.file())
	if err == nil && target == nil {
		err = fmt.Errorf("open snapshot %s of %s: %w", to.file(), c.Subvolume, os.ErrNotExist)
	}
	return target, err
}

// mark gives the next subvolume the current one's own attributes, which are the server's settings
// and not contents, and the name of the operation.
func (f Folder) mark(current *os.File, operation string) error {
	made, err := f.open(next)
	if err != nil {
		return err
	}
	defer made.Close()
	before, err := attributes(made)
	if err != nil {
		return err
	}
	wanted, err := attributes(current)
	if err != nil {
		return err
	}
	wanted[operationAttribute] = operation
	for name := range before {
		if _, ok := wanted[name]; !ok {
			if err := unix.Fremovexattr(int(made.Fd()), name); err != nil {
				return fmt.Errorf("remove an attribute: %w", err)
			}
		}
	}
	for name, value := range wanted {
		if err := unix.Fsetxattr(int(made.Fd()), name, []byte(value), 0); err != nil {
			return fmt.Errorf("set an attribute of a subvolume (it takes the capability CAP_SYS_ADMIN): %w", err)
		}
	}
	return nil
}

// exchange lets the subvolume and the next one take each other's place.
func (s Snapshots) exchange(of string) error {
	err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(s.Directory(of), next), unix.AT_FDCWD, filepath.Join(string(s.folder), of), unix.RENAME_EXCHANGE)
	if err != nil {
		return fmt.Errorf("exchange subvolume %s with a copy of a snapshot: %w", of, err)
	}
	return nil
}

// released waits until nobody uses what was in the subvolume's place before the exchange, which
// was the last change in the snapshots' directory.
func (s Snapshots) released(ctx context.Context, c Change) error {
	if err := ctx.Err(); err != nil || c.Released == nil {
		return err
	}
	info, err := os.Stat(s.Directory(c.Subvolume))
	if err != nil {
		return err
	}
	return c.Released(ctx, info.ModTime())
}

// undoUndo reverses an undo that was given up half-way: it brings the former contents back unless
// they have been removed.
func (s Snapshots) undoUndo(ctx context.Context, c Change, current *os.File) error {
	other, _, err := s.of(c.Subvolume).subvolume(next)
	if err != nil || other == nil {
		return err
	}
	defer other.Close()
	switch c.Operation {
	case attribute(current, operationAttribute):
		if err := s.exchange(c.Subvolume); err != nil {
			return err
		}
	case attribute(other, operationAttribute): // it was not there yet, or no longer
	default:
		return s.of(c.Subvolume).discard(next)
	}
	if err := s.released(ctx, c); err != nil {
		return err
	}
	if keep := c.Previous.Undo.Keep; keep != "" && keep != c.Previous.Undo.To {
		if err := s.remove(c.Subvolume, keep); err != nil {
			return err
		}
	}
	return s.of(c.Subvolume).discard(next)
}

// attributes are those that the server of the subvolume set on it.
func attributes(f *os.File) (map[string]string, error) {
	size, err := unix.Flistxattr(int(f.Fd()), nil)
	if err != nil {
		return nil, fmt.Errorf("list the attributes of a subvolume: %w", err)
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(int(f.Fd()), list); err != nil {
		return nil, fmt.Errorf("list the attributes of a subvolume: %w", err)
	}
	found := map[string]string{}
	for name := range strings.SplitSeq(string(list[:size]), "\x00") {
		if strings.HasPrefix(name, "user.") {
			found[name] = attribute(f, name)
		}
	}
	return found, nil
}

// maxAttribute is the most that an attribute of btrfs holds.
const maxAttribute = 16 << 10

// attribute is the value of an attribute; empty if there is none.
func attribute(f *os.File, name string) string {
	value := make([]byte, maxAttribute)
	n, err := unix.Fgetxattr(int(f.Fd()), name, value)
	if err != nil {
		return ""
	}
	return string(value[:n])
}
