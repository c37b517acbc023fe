package btrfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
)

// newFolder is a folder with quotas and a subvolume "it".
func newFolder(t *testing.T) (Folder, Snapshots) {
	t.Helper()
	mounted := embeddedtest.Btrfs(t, "512M")
	embeddedtest.Command(t, "btrfs", "quota", "enable", mounted)
	f := Folder(mounted)
	if err := f.Make("it"); err != nil {
		t.Fatal(err)
	}
	return f, NewSnapshots(f, "c", 0o700)
}

func write(t *testing.T, f Folder, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(string(f), "it", "file"), []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
}

func expectContent(t *testing.T, f Folder, want string) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(string(f), "it", "file")); err != nil || string(got) != want {
		t.Errorf("the content is %q, %v, want %q", got, err, want)
	}
}

func expectSnapshots(t *testing.T, s Snapshots, want ...string) {
	t.Helper()
	all, err := s.List("it")
	var names []string
	for _, one := range all {
		names = append(names, one.Name)
	}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("the snapshots are %q, %v, want %q", names, err, want)
	}
	if _, err := os.Lstat(filepath.Join(s.Directory("it"), next)); err == nil {
		t.Error("the subvolume of an undo is left")
	}
}

// change is one of "it", where three snapshots are allowed.
func change(p Params) Change {
	return Change{Subvolume: "it", Next: p, Operation: fmt.Sprint(time.Now().UnixNano()), Before: 3, Most: 3, Limit: 16 << 20}
}

func snapshot(name string) Params { return Params{Snapshot: &Named{name}} }
func removal(name string) Params  { return Params{RemoveSnapshot: &Named{name}} }
func undo(to, keep string) Params { return Params{Undo: &UndoTo{to, keep}} }

func apply(t *testing.T, s Snapshots, c Change) {
	t.Helper()
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func rejected(t *testing.T, err error, words string) {
	t.Helper()
	if message, ok := services.IsRejected(err); !ok || !strings.Contains(message, words) {
		t.Errorf("%v, want a rejection with %q in it", err, words)
	}
}

func TestSnapshots(t *testing.T) {
	f, s := newFolder(t)
	write(t, f, "one")
	apply(t, s, change(snapshot("first")))
	write(t, f, "two")
	apply(t, s, change(snapshot("first"))) // once for each name
	apply(t, s, change(snapshot("second")))
	all, err := s.List("it")
	if err != nil || len(all) != 2 || all[0].Made == all[1].Made || time.Since(all[0].Made) > time.Minute {
		t.Errorf("%v, %v", all, err)
	}
	first := filepath.Join(s.Directory("it"), all[0].file(), "file")
	if err := os.WriteFile(first, nil, 0o600); err == nil {
		t.Error("a snapshot was changed")
	}
	apply(t, s, change(undo("first", "")))
	expectContent(t, f, "one")
	expectSnapshots(t, s, "first", "second")
	write(t, f, "three")
	apply(t, s, change(undo("second", "before-second")))
	expectContent(t, f, "two")
	expectSnapshots(t, s, "first", "second", "before-second")
	rejected(t, s.Apply(t.Context(), change(snapshot("fourth"))), "has 3 snapshots, and its plan allows 3")
	rejected(t, s.Apply(t.Context(), change(undo("first", "fourth"))), "has 3 snapshots, and its plan allows 3")
	apply(t, s, change(removal("second")))
	apply(t, s, change(removal("second")))
	apply(t, s, change(undo("before-second", "")))
	expectContent(t, f, "three")
	rejected(t, s.Apply(t.Context(), change(undo("second", ""))), `no snapshot "second"`)
	rejected(t, s.Apply(t.Context(), change(undo("first", "before-second"))), `has a snapshot "before-second" already`)
	smaller := change(Params{})
	smaller.Most = 1
	rejected(t, s.Apply(t.Context(), smaller), "has 2 snapshots, and the plan allows 1")
	expectSnapshots(t, s, "first", "before-second")
	if err := errors.Join(s.RemoveAll("it"), s.RemoveAll("it")); err != nil {
		t.Error(err)
	}
	expectNoGroups(t, f, 2)
}

// expectNoGroups fails unless the quota groups are those of so many subvolumes.
func expectNoGroups(t *testing.T, f Folder, want int) {
	t.Helper()
	embeddedtest.Command(t, "btrfs", "filesystem", "sync", string(f))
	embeddedtest.Command(t, "btrfs", "subvolume", "sync", string(f))
	if groups := embeddedtest.Command(t, "btrfs", "qgroup", "show", "--raw", string(f)); strings.Count(groups, "0/") != want {
		t.Errorf("quota groups, want %d:\n%s", want, groups)
	}
}

// An undo that is repeated by the same operation does not bring the snapshot back once more.
func TestUndoOnce(t *testing.T) {
	f, s := newFolder(t)
	write(t, f, "one")
	apply(t, s, change(snapshot("first")))
	write(t, f, "two")
	once := change(undo("first", ""))
	apply(t, s, once)
	write(t, f, "since")
	apply(t, s, once)
	expectContent(t, f, "since")
	once.Operation = "another"
	apply(t, s, once)
	expectContent(t, f, "one")
}

// interrupted is a context that ends when it was asked so often.
type interrupted struct {
	context.Context
	left int
}

func (i *interrupted) Err() error {
	if i.left--; i.left < 0 {
		return context.Canceled
	}
	return nil
}

// An undo that ends after each of its steps is completed by its repetition, or reversed.
func TestInterruptedUndo(t *testing.T) {
	f, s := newFolder(t)
	for _, mode := range []struct{ reverse, waits bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		for steps := range 11 {
			t.Run(fmt.Sprintf("%d steps, reversed %t, sessions %t", steps, mode.reverse, mode.waits), func(t *testing.T) {
				write(t, f, "one")
				apply(t, s, change(snapshot("first")))
				write(t, f, "two")
				c := change(undo("first", "kept"))
				released := 0
				c.Released = func(context.Context, time.Time) error {
					if released++; released == 1 && mode.waits {
						return services.NotYet(0, "waits")
					}
					return nil
				}
				err := s.Apply(&interrupted{t.Context(), steps}, c)
				t.Logf("interrupted: %v", err)
				if mode.reverse && err != nil {
					c.Previous, c.Next = c.Next, c.Previous
				}
				for range 3 {
					if _, notYet := errors.AsType[*services.NotYetError](err); err != nil && (notYet || errors.Is(err, context.Canceled)) {
						err = s.Apply(t.Context(), c)
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				if c.Previous.Undo != nil {
					expectContent(t, f, "two")
					expectSnapshots(t, s, "first")
				} else {
					expectContent(t, f, "one")
					expectSnapshots(t, s, "first", "kept")
				}
				if err := s.RemoveAll("it"); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	expectNoGroups(t, f, 2)
}

// The limit of the subvolume holds after an undo, also to a snapshot that is full.
func TestLimitAfterUndo(t *testing.T) {
	f, s := newFolder(t)
	if err := f.Limit("it", 16<<20); err != nil {
		t.Fatal(err)
	}
	fill := func() (n int) {
		for i := range 20 {
			name := filepath.Join(string(f), "it", fmt.Sprint(i, "-", n))
			if os.WriteFile(name, make([]byte, 4<<20), 0o600) == nil {
				n++
			}
		}
		return n
	}
	first := fill()
	apply(t, s, change(snapshot("full")))
	for _, name := range []string{"full", "full"} {
		apply(t, s, change(undo(name, "")))
		if more := fill(); first == 0 || more > 0 {
			t.Errorf("%d files fit, then %d more", first, more)
		}
	}
}

// The settings that a server stores in a subvolume's own attributes stay.
func TestAttributesStay(t *testing.T) {
	f, s := newFolder(t)
	path := filepath.Join(string(f), "it")
	if err := unix.Setxattr(path, "user.old", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	write(t, f, "one")
	apply(t, s, change(snapshot("first")))
	if err := errors.Join(unix.Removexattr(path, "user.old"), unix.Setxattr(path, "user.new", []byte("2"), 0)); err != nil {
		t.Fatal(err)
	}
	apply(t, s, change(undo("first", "")))
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if found, err := attributes(dir); err != nil || !maps.Equal(found, map[string]string{"user.new": "2"}) {
		t.Errorf("attributes: %v, %v", found, err)
	}
}

// A folder that is no subvolume is told from one that is absent.
func TestPlainFolder(t *testing.T) {
	f, s := newFolder(t)
	if err := os.Mkdir(filepath.Join(string(f), "plain"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := change(snapshot("first"))
	c.Subvolume = "plain"
	rejected(t, s.Apply(t.Context(), c), "before its server had the file system btrfs")
	c.Subvolume = "absent"
	if err := s.Apply(t.Context(), c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent subvolume: %v", err)
	}
	elsewhere := Folder(t.TempDir())
	for folder, words := range map[Folder]string{elsewhere: "is not", "": "does not name"} {
		if err := folder.CheckPlan("folder", 1); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("check a plan: %v, want %q", err, words)
		}
	}
	if err := errors.Join(f.CheckPlan("folder", 1), elsewhere.CheckPlan("folder", 0)); err != nil {
		t.Error(err)
	}
}

func TestParams(t *testing.T) {
	for text, want := range map[string]string{
		`{"snapshot": {"name": "before-import"}}`:                           "",
		`{"undo": {"to": "a", "keep": "b"}}`:                                "",
		`{"snapshot": {"name": ""}}`:                                        "snapshot.name: must have 1 to 64 characters",
		`{"snapshot": {"name": "../../etc"}}`:                               "snapshot.name: must have",
		`{"snapshot": {"name": ".next"}}`:                                   "snapshot.name: must have",
		`{"snapshot": {"name": "a@GMT-2026.01.01-00.00.00"}}`:               "snapshot.name: must have",
		`{"remove_snapshot": {"name": "` + strings.Repeat("x", 255) + `"}}`: "remove_snapshot.name: must have",
		`{"undo": {"to": "a/b"}}`:                                           "undo.to: must have",
		`{"undo": {"to": "a", "keep": "\u0000"}}`:                           "undo.keep: must have",
		`{"undo": {}}`: "undo.to: must have",
		`{"snapshot": {"name": "a"}, "undo": {"to": "a"}}`:                             "only one of these",
		`{"snapshot": {"name": "a\n"}}`:                                                "snapshot.name: must have",
		`{"snapshot": {"name": "a"}, "remove_snapshot": {"name": "` + "\u202e" + `"}}`: "only one of these",
	} {
		_, err := services.Decode[Params]([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
