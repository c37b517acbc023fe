package smb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// Every state that a crash leaves between two writes is listed, can be completed and can be
// removed.
func TestHalves(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "c")
	edit := func(with func(*table)) {
		t.Helper()
		if err := b.accounts.change(ctx, func(a *table) error { with(a); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	inst := newInstance("i", func(i *instance) { i.Plan.DeleteContents = true })
	bd := newBinding(t, inst, "b", BindingParams{})
	name, a := b.names.resource(inst.Name), account{name: inst.Name, instance: inst.Name, role: owner, uid: 1900000500, gid: 1900000500}
	for _, c := range []struct {
		state  string
		make   func()
		listed bool
	}{
		{"a group without its account", func() { edit(func(t *table) { t.put(a); t.passwd = removeLine(t.passwd, name) }) }, false},
		{"an account without its folder", func() { edit(func(t *table) { t.put(a) }) }, true},
		{"a folder that is root's", func() {
			edit(func(t *table) { t.put(a) })
			if err := os.Mkdir(b.folder.path(name), 0o700); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a folder without its share", func() {
			edit(func(t *table) { t.put(a) })
			if err := b.folder.make(name, a, 0); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a deleted folder", func() {
			if err := os.MkdirAll(filepath.Join(b.folder.dir, b.folder.trash, name, "1", "full"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		for _, on := range []bool{true, false} {
			t.Run(c.state, func(t *testing.T) {
				c.make()
				found, err := b.List(ctx)
				if err != nil || (len(found) == 1) != c.listed {
					t.Errorf("listed: %v, %v", found, err)
				}
				if on {
					if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
						t.Fatal(err)
					}
					dialled(t, bound(t, b, inst, bd).Values).mustWrite(t, "key", "value")
				}
				if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
					t.Fatal(err)
				}
				nothingLeft(t, server, inst, bd)
			})
		}
	}
	t.Run("a new file of accounts", func(t *testing.T) {
		for _, file := range []string{passwdFile, groupFile, countFile} {
			if err := os.WriteFile(filepath.Join(server.AccountsFolder(), file+".chandler-new"), []byte("half a li"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
			t.Fatal(err)
		}
		dialled(t, bound(t, b, inst, bd).Values).mustWrite(t, "key", "value")
	})
}

// What a deletion leaves that died after it ended access is listed, and can be removed.
func TestHalfDeleted(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	bd := newBinding(t, inst, "b", BindingParams{})
	dialled(t, bound(t, b, inst, bd).Values).mustWrite(t, "key", "value")
	if err := finished(t, func() error { return b.endAccess(ctx, inst.Name) }); err != nil {
		t.Fatal(err)
	}
	if found, err := b.List(ctx); err != nil || len(found) != 2 { // the folder, and the binding's account
		t.Errorf("listed: %v, %v", found, err)
	}
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, server, inst, bd)
}
