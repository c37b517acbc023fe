package smb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func rejected(t *testing.T, err error, words string) {
	t.Helper()
	message, ok := services.IsRejected(err)
	if !ok || !strings.Contains(message, words) {
		t.Errorf("%v, want a refusal with %q in it", err, words)
	}
}

func nothingLeft(t *testing.T, server *testServer, inst instance, bindings ...binding) {
	t.Helper()
	var names []string
	for _, bd := range bindings {
		names = append(names, bd.Name)
	}
	if left, err := server.leftOf(testContext(t), inst.Name, names); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A provision that was cut short makes nothing after the instance was deleted.
func TestNothingIsMadeAfterADeletion(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "c")
	inst := newInstance("i", nil)
	if _, err := b.ownAccount(ctx, inst.Name); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Once(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if err := b.ownShare(ctx, inst); !errors.Is(err, errAbsent) {
		t.Errorf("make the share of a deleted instance: %v", err)
	}
	nothingLeft(t, server, inst)
}

// A share that is not empty stays, with its bindings, unless the plan deletes contents. So
// does an orphan, whose plan is unknown.
func TestContentsAreKept(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "kept")
	inst := provisioned(t, b, "i", nil)
	s := dialled(t, bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values)
	s.mustWrite(t, "key", "value")
	rejected(t, servicetest.Once(b).Deprovision(ctx, inst), "is not empty")
	rejected(t, servicetest.Once(b).Deprovision(ctx, instance{Name: inst.Name}), "is not empty")
	s.mustWrite(t, "another", "value")
	if value, err := s.Read(ctx, "key"); value != "value" || err != nil {
		t.Fatalf("after the refusal: %q, %v", value, err)
	}
	for _, key := range []string{"key", "another"} {
		if err := s.share.Remove(key); err != nil {
			t.Fatal(err)
		}
	}
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
		t.Fatal(err)
	}
	if s.Ping(ctx) == nil {
		t.Error("the live session outlived its share")
	}
	nothingLeft(t, server, inst)
}

func TestBindingsLimit(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Bindings = 2 })
	one := newBinding(t, inst, "one", BindingParams{})
	bound(t, b, inst, one)
	two := bound(t, b, inst, newBinding(t, inst, "two", BindingParams{ReadOnly: true}))
	three := newBinding(t, inst, "three", BindingParams{})
	_, err := servicetest.Once(b).Bind(ctx, inst, three)
	rejected(t, err, "has 2 bindings, and its plan allows 2")
	bound(t, b, inst, one) // again is not one more
	if err := servicetest.Once(b).Unbind(ctx, inst, one); err != nil {
		t.Fatal(err)
	}
	bound(t, b, inst, three)
	if err := dialled(t, two.Values).Ping(ctx); err != nil {
		t.Error(err)
	}
}

// A bind with the IDs of a binding with another role revokes the earlier credential.
func TestRoleChanges(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", nil)
	was := bound(t, b, inst, newBinding(t, inst, "b", BindingParams{}))
	live := dialled(t, was.Values)
	again := newBinding(t, inst, "b", BindingParams{ReadOnly: true})
	var is services.Credentials
	err := finished(t, func() (err error) { is, err = servicetest.Once(b).Bind(testContext(t), inst, again); return err })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(ctx, was.Values); err == nil {
		t.Error("the credentials of the first role still work")
	}
	if live.Ping(ctx) == nil {
		t.Error("the session of the first role goes on")
	}
	if dialled(t, is.Values).Write(ctx, "key", "value") == nil {
		t.Error("wrote as a reader")
	}
}

// ids are the user numbers of the accounts and the folder of an instance.
func ids(t *testing.T, b *backend, inst instance) (found []int64) {
	t.Helper()
	accounts, err := b.accounts.read()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts.all() {
		if a.instance == inst.Name {
			found = append(found, a.uid)
		}
	}
	info, err := os.Stat(b.folder.path(b.names.resource(inst.Name)))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := accounts.find(inst.Name)
	if stat := info.Sys().(*syscall.Stat_t); int64(stat.Uid) != a.uid || int64(stat.Gid) != a.gid || info.Mode() != fs.ModeDir|fs.ModeSetgid|0o770 {
		t.Errorf("the folder is %d:%d's and %v; the instance is %d:%d", stat.Uid, stat.Gid, info.Mode(), a.uid, a.gid)
	}
	return found
}

// No number and no file is used again, whatever the IDs and the broker.
func TestNothingComesBackToLife(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	seen := map[int64]bool{}
	for round := range 3 {
		// Two brokers that share the machine's accounts.
		for _, prefix := range []string{"one", "two"} {
			b := server.backend(t, prefix)
			inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
			s := dialled(t, bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values)
			if entries, err := s.share.ReadDir("."); err != nil || len(entries) > 0 {
				t.Errorf("round %d: a new share holds %v, %v", round, entries, err)
			}
			s.mustWrite(t, "old", "secret")
			for _, id := range ids(t, b, inst) {
				if seen[id] {
					t.Errorf("round %d: number %d was used before", round, id)
				}
				seen[id] = true
			}
			if err := finished(t, func() error { return servicetest.Once(b).Deprovision(ctx, inst) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d numbers, want 12", len(seen))
	}
}

// What others have in the files of accounts stays as it is.
func TestOthersAccountsStay(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	path := filepath.Join(server.AccountsFolder(), passwdFile)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	others := string(before) + "c-neighbour:x:1900000777:1900000777:chandler ..:/:/bin/sh\nd-" + services.InstanceName("i") + ":*:900:900:chandler x writer:/:/bin/sh\n"
	if err := os.WriteFile(path, []byte(others), 0o644); err != nil {
		t.Fatal(err)
	}
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", nil)
	bound(t, b, inst, newBinding(t, inst, "b", BindingParams{}))
	if got := ids(t, b, inst); len(got) != 2 || got[0] <= 1900000777 {
		t.Errorf("numbers: %v, want above others'", got)
	}
	if err := servicetest.Once(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if diff := cmp.Diff(others, string(after)); diff != "" || err != nil {
		t.Errorf("(-before +after): %v\n%s", err, diff)
	}
}

// Many brokers on one machine change the accounts at the same time.
func TestAccountsSideBySide(t *testing.T) {
	dir, ctx := t.TempDir(), testContext(t)
	const brokers, each = 8, 25
	var wait sync.WaitGroup
	for i := range brokers {
		wait.Go(func() {
			b := &backend{names: newNamer(fmt.Sprint("p", i))}
			b.accounts = accounts{dir: dir, first: 5000, last: 6000, names: b.names}
			for n := range each {
				if _, err := b.ownAccount(ctx, services.InstanceName(fmt.Sprint(n))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	lines, numbers := readLines(t, filepath.Join(dir, passwdFile)), map[string]bool{}
	for _, line := range lines {
		numbers[strings.Split(line, ":")[2]] = true
	}
	if len(lines) != brokers*each || len(numbers) != brokers*each {
		t.Errorf("%d accounts with %d numbers, want %d", len(lines), len(numbers), brokers*each)
	}
}

func readLines(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func TestNumbersRunOut(t *testing.T) {
	dir := t.TempDir()
	b := &backend{names: newNamer("c")}
	b.accounts = accounts{dir: dir, first: 5000, last: 5001, names: b.names}
	for i := range 2 {
		if _, err := b.ownAccount(testContext(t), services.InstanceName(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.ownAccount(testContext(t), services.InstanceName("more"))
	expect(t, err, "all user numbers up to 5001 are used up")
	if err := os.WriteFile(filepath.Join(dir, countFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = b.ownAccount(testContext(t), services.InstanceName("more"))
	expect(t, err, "does not hold a number")
}

// Reconcile repairs a share that somebody changed.
func TestShareIsRepaired(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", nil)
	c := bound(t, b, inst, newBinding(t, inst, "b", BindingParams{}))
	name := b.names.resource(inst.Name)
	right, err := b.samba.shares(ctx)
	if err != nil || right[name] == nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"guest ok": "yes", "valid users": "", "read only": "yes", "max connections": "7"} {
		if _, err := server.admin(ctx, "net", "conf", "-s", server.ConfigFile(), "setparm", name, key, value); err != nil {
			t.Fatal(err)
		}
		if notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst}); err != nil || len(notes) > 0 {
			t.Errorf("keep: %v, %v", notes, err)
		}
		now, err := b.samba.shares(ctx)
		if diff := cmp.Diff(right, now); diff != "" || err != nil {
			t.Errorf("%s: %v (-right +now):\n%s", key, err, diff)
		}
	}
	dialled(t, c.Values).mustWrite(t, "key", "value")
}

// A share that cannot be counted has a condition, and does not block others.
func TestShareThatCannotBeCounted(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	limited := func(i *instance) { i.Plan.Storage = 1 << 20 }
	broken, full := provisioned(t, b, "broken", limited), provisioned(t, b, "full", limited)
	dialled(t, bound(t, b, full, newBinding(t, full, "b", BindingParams{})).Values).mustWrite(t, "big", strings.Repeat("x", 3<<19))
	folder := b.folder.path(b.names.resource(broken.Name))
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	conditions, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{broken, full})
	if err == nil || conditions["broken"] != services.LimitsNotEnforced() || conditions["full"].Reason != services.OverQuota {
		t.Errorf("%v, %v", conditions, err)
	}
}

// A plan without a limit unlocks a share at once, and a larger plan does so when the share
// was counted again.
func TestFullShareIsOpenedAgain(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Storage = 1 << 20 })
	c := bound(t, b, inst, newBinding(t, inst, "b", BindingParams{}))
	dialled(t, c.Values).mustWrite(t, "big", strings.Repeat("x", 3<<19))
	for _, size := range []services.Size{0, 10 << 20} {
		notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst})
		if want := "storage: 1.5 MB of 1 MB used; the share is read-only: choose a larger plan, then delete files"; err != nil || notes["i"].Message != want {
			t.Fatalf("note: %q, %v", notes["i"].Message, err)
		}
		if dialled(t, c.Values).Write(ctx, "more", "x") == nil {
			t.Error("wrote to a full share")
		}
		// A binding made now is bound to the same, and a repeated one does not
		// open the share.
		if dialled(t, bound(t, b, inst, newBinding(t, inst, fmt.Sprint("late", size), BindingParams{})).Values).Write(ctx, "more", "x") == nil {
			t.Error("a new binding wrote to a full share")
		}
		next := inst
		next.Plan.Storage = size
		if err := servicetest.Once(b).Update(ctx, inst, next); err != nil {
			t.Fatal(err)
		}
		if size > 0 {
			if notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{next}); err != nil || len(notes) > 0 {
				t.Errorf("keep with a larger plan: %v, %v", notes, err)
			}
		}
		dialled(t, c.Values).mustWrite(t, "more", "x")
		if err := servicetest.Once(b).Update(ctx, next, inst); err != nil {
			t.Fatal(err)
		}
	}
}
