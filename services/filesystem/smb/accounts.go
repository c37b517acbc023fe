package smb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// accounts are the Unix accounts that Samba requires for its users (smb.conf(5), "security"), in
// files passwd and group of their own (passwd(5), group(5)). None has a password or a shell. The
// files also list what exists: an account names its instance or binding, and its role.
type accounts struct {
	dir         string
	first, last int64
	names       namer
}

const (
	passwdFile = "passwd"
	groupFile  = "group"
	// lockFile and countFile are shared by all brokers of the machine.
	lockFile  = "chandler.lock"
	countFile = "chandler.count" // the last assigned number
)

// lock excludes other changes until unlock.
func (a accounts) lock(ctx context.Context) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(a.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the accounts: %w", err)
	}
	unlock = func() { _ = file.Close() }
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		// Without waiting, which ctx could not end.
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return unlock, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			unlock()
			return nil, fmt.Errorf("lock the accounts: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			unlock()
			return nil, fmt.Errorf("another broker holds the lock of the accounts in %s: %w", a.dir, ctx.Err())
		}
	}
}

// read returns all accounts as they are.
func (a accounts) read() (*table, error) {
	t := &table{names: a.names}
	for name, lines := range map[string]*[]string{passwdFile: &t.passwd, groupFile: &t.group} {
		content, err := os.ReadFile(filepath.Join(a.dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the accounts: %w", err)
		}
		if text := strings.TrimRight(string(content), "\n"); text != "" {
			*lines = strings.Split(text, "\n")
		}
	}
	return t, nil
}

// change reads the accounts, calls with, and writes what that changed.
func (a accounts) change(ctx context.Context, with func(*table) error) error {
	unlock, err := a.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	t, err := a.read()
	if err != nil {
		return err
	}
	before := *t
	if err := with(t); err != nil {
		return err
	}
	if !slices.Equal(before.group, t.group) { // first, so that every account's group exists
		if err := a.write(groupFile, t.group, 0o644); err != nil {
			return err
		}
	}
	if !slices.Equal(before.passwd, t.passwd) {
		return a.write(passwdFile, t.passwd, 0o644)
	}
	return nil
}

// create adds an account with a number that was never used before. The caller holds the lock.
func (a accounts) create(t *table, created account) error {
	if err := t.checkName(created.name); err != nil {
		return err
	}
	content, err := os.ReadFile(filepath.Join(a.dir, countFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the last number of an account: %w", err)
	}
	last, err := strconv.ParseInt(cmp.Or(strings.TrimSpace(string(content)), "0"), 10, 64)
	if err != nil {
		return fmt.Errorf("%s does not hold a number; write the highest user number into it that was ever assigned", filepath.Join(a.dir, countFile))
	}
	created.uid = max(last+1, a.first, t.highest(a.first, a.last)+1)
	if created.uid > a.last {
		return fmt.Errorf("all user numbers up to %d are used up: set first_id and last_id to a new range", a.last)
	}
	created.gid = cmp.Or(created.gid, created.uid)
	t.put(created)
	return a.write(countFile, []string{strconv.FormatInt(created.uid, 10)}, 0o600)
}

// write writes a file atomically, even if the power fails.
func (a accounts) write(name string, lines []string, mode fs.FileMode) (err error) {
	next := filepath.Join(a.dir, name+".chandler-new")
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the accounts: %w", errors.Join(err, os.RemoveAll(next)))
		}
	}()
	file, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = file.WriteString(strings.Join(slices.Concat(lines, []string{""}), "\n"))
	if err := errors.Join(err, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(a.dir, name)); err != nil {
		return err
	}
	dir, err := os.Open(a.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
