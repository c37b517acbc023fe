package openwhisk

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func testBackend(t *testing.T) *backend {
	t.Helper()
	b, err := open(t.Context(), Config{DatabaseURL: services.NewSecret(embeddedtest.Database(t)), APIHost: "http://127.0.0.1:3233"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func testInstance(t testing.TB, params string) instance {
	t.Helper()
	inst := instance{ID: "i", Name: services.InstanceName("i")}
	var err error
	if inst.Plan, err = services.Decode[Plan](nil); err != nil {
		t.Fatal(err)
	}
	if inst.Params, err = services.Decode[InstanceParams](json.RawMessage(params)); err != nil {
		t.Fatal(err)
	}
	return inst
}

// exec writes what a runtime would have written.
func (b *backend) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := b.store.Pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// rows counts what is left of the namespace in all tables that have one.
func (b *backend) rows(t *testing.T, name string) map[string]int {
	t.Helper()
	left, err := leftOf(t.Context(), b.store, name)
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// leftOf asks the catalog which tables speak of namespaces, so that it needs no
// list.
func leftOf(ctx context.Context, s *state.Store, name string) (map[string]int, error) {
	rows, err := s.Pool.Query(ctx, `select table_name, column_name from information_schema.columns
		where table_schema = 'functions' and (column_name = 'namespace' or (table_name = 'namespaces' and column_name = 'name'))`)
	if err != nil {
		return nil, err
	}
	columns := map[string]string{}
	var table, column string
	for rows.Next() {
		if err := rows.Scan(&table, &column); err != nil {
			return nil, err
		}
		columns[table] = column
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	left := map[string]int{}
	for table, column := range columns {
		var n int
		if err := s.Pool.QueryRow(ctx, "select count(*) from "+table+" where "+column+" = $1", name).Scan(&n); err != nil {
			return nil, err
		}
		if n > 0 {
			left[table] = n
		}
	}
	return left, nil
}

// A deprovision waits for a runtime to remove the feeds, in vain where none runs,
// deletes activations in batches, and leaves nothing.
func TestDeprovision(t *testing.T) {
	b := testBackend(t)
	ctx, inst := t.Context(), testInstance(t, `{}`)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	seed := seed(t, 1)
	if _, err := servicetest.Once(b).Bind(ctx, inst, binding{ID: "b", Name: "b", Seed: seed, Params: BindingParams{Role: state.ReadWrite}}); err != nil {
		t.Fatal(err)
	}
	b.exec(t, `insert into feeds (id, namespace, trigger, kind, settings, sealed) values ($1, $2, 't', 'alarm', '{}', '')`, uuid.New(), inst.Name)
	b.exec(t, `insert into activations (namespace, id, name, path, version, subject, started_at)
		select $1, gen_random_uuid(), 'a', 'a', '0.0.1', 's', now() from generate_series(1, $2)`, inst.Name, removedAtOnce+1)
	notices := listening(t, b)
	if diff := cmp.Diff(map[string]int{"namespaces": 1, "keys": 1, "feeds": 1, "activations": removedAtOnce + 1}, b.rows(t, inst.Name)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	notYet := func(note string) {
		t.Helper()
		got, ok := errors.AsType[*services.NotYetError](servicetest.Once(b).Deprovision(ctx, inst))
		if !ok || got.Note != note || got.After <= 0 {
			t.Fatalf("%+v, want %q", got, note)
		}
	}
	notYet("waiting up to 15s for a runtime to remove 1 feed(s) from their message servers")
	notices(state.Notice{Channel: state.NamespaceEnded, Payload: inst.Name})
	if left := b.rows(t, inst.Name); left["keys"] > 0 {
		t.Error("the key is still there")
	}
	if err := servicetest.Once(b).Provision(ctx, inst); err == nil {
		t.Error("provisioned while it was being removed")
	}
	b.exec(t, "update namespaces set ending_at = now() - make_interval(secs => $1)", feedPatience.Seconds())
	notYet("the activations are being deleted")
	for range 2 {
		if err := servicetest.Once(b).Deprovision(ctx, inst); err != nil {
			t.Fatal(err)
		}
	}
	notices(state.Notice{Channel: state.NamespaceEnded, Payload: inst.Name}) // of the second call
	// A later runtime removes what the feed has elsewhere, and then its row.
	if diff := cmp.Diff(map[string]int{"feeds": 1}, b.rows(t, inst.Name)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// listening returns what waits for a notice.
func listening(t *testing.T, b *backend) func(want state.Notice) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	notices := make(chan state.Notice, 100)
	go b.store.Listen(ctx, discard(), func(n state.Notice) { notices <- n })
	next := func(want state.Notice) {
		t.Helper()
		for {
			select {
			case got := <-notices:
				if got == want {
					return
				}
			case <-ctx.Done():
				t.Fatalf("no %+v", want)
			}
		}
	}
	next(state.Notice{})
	return next
}

// Mounts arrive in the state with what identifies the folder, and only those that
// the engine found.
func TestMounts(t *testing.T) {
	b := testBackend(t)
	ctx, root := t.Context(), t.TempDir()
	folder := filepath.Join(root, "folder")
	inst := testInstance(t, `{"mounts": [{"instance": "fs", "path": "/photos", "read_only": true}]}`)
	if diff := cmp.Diff([]string{"fs"}, b.MountedInstances(inst.Params)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if message, rejected := services.IsRejected(servicetest.Once(b).Provision(ctx, inst)); !rejected || !strings.HasPrefix(message, "mounts[0].instance: ") {
		t.Errorf("a file system that is not there: %q", message)
	}
	inst.Directories = map[string]string{"fs": folder}
	if err := servicetest.Once(b).Provision(ctx, inst); err == nil {
		t.Error("a folder that is not there was mounted")
	} else if _, rejected := services.IsRejected(err); rejected {
		t.Errorf("a folder that is not there is blamed on the user: %v", err)
	}
	made := func() state.Mount {
		t.Helper()
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
			t.Fatal(err)
		}
		row, err := b.store.Namespace(ctx, b.store.Pool, inst.Name)
		if err != nil {
			t.Fatal(err)
		}
		var mounts []state.Mount
		if err := json.Unmarshal(row.Mounts, &mounts); err != nil || len(mounts) != 1 {
			t.Fatalf("%s: %v", row.Mounts, err)
		}
		return mounts[0]
	}
	first := made()
	want := state.Mount{Instance: "fs", Path: "/photos", Folder: folder, ReadOnly: true}
	if diff := cmp.Diff(want, first, cmpopts.IgnoreFields(state.Mount{}, "Device", "Inode", "Born")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if first.Inode == 0 || first.Device == 0 {
		t.Errorf("it says too little of the folder: %+v", first)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if second := made(); second == first {
		t.Errorf("another folder of the same name cannot be told from the first one: %+v", second)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, folder); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Once(b).Provision(ctx, inst); err == nil {
		t.Error("a link was mounted")
	}
}
