package backup_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/services"
)

func manifest(t testing.TB, id string) backup.Manifest {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return backup.Manifest{
		Version: 1, ID: id, Label: "before-migration", Created: time.Date(2026, 6, 1, 3, 15, 0, 0, time.UTC),
		Instance: backup.Owner{
			ID: "0b3f8a1e-5a8d-4f3c-9d7c-000000000001", Name: instance, Platform: "cf", Organization: "o", Space: "s",
			ServiceID: "s1", Service: "postgres", PlanID: "p1", Plan: "small", BackendType: "database/postgres",
			Parameters: json.RawMessage(`{"extensions": ["pgcrypto"]}`),
		},
		Stored: backup.Stored{
			Object: backup.Name(instance, id) + ".abcdefgh.age", Raw: 10, Stored: 300, SHA256: strings.Repeat("0a", 32),
			Contents: services.Contents{Format: "postgres-1", Counts: map[string]int64{"tables": 1}},
		},
		Recipients: []string{key.Recipient().String()},
	}
}

func TestManifests(t *testing.T) {
	s := newStore(t)
	first, second := manifest(t, "1"), manifest(t, "2")
	second.Instance.Name = strings.Repeat("b", 26)
	second.Stored.Object = backup.Name(second.Instance.Name, "2") + ".abcdefgh.age"
	for _, m := range []backup.Manifest{first, second} {
		if err := s.PutManifest(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, first.Name(), []byte("this is not a manifest"))
	list := func(instance string) (all []backup.Manifest, failed []error) {
		for m, err := range s.Manifests(t.Context(), instance) {
			if err != nil {
				failed = append(failed, err)
			} else {
				all = append(all, m)
			}
		}
		return all, failed
	}
	plain := cmp.Transformer("JSON", func(r json.RawMessage) (v any) { _ = json.Unmarshal(r, &v); return v })
	all, failed := list("")
	if diff := cmp.Diff([]backup.Manifest{first, second}, all, plain); diff != "" || len(failed) > 0 {
		t.Errorf("%v; manifests (-want +got):\n%s", failed, diff)
	}
	if one, failed := list(instance); len(one) != 1 || one[0].ID != "1" || len(failed) > 0 {
		t.Errorf("one instance's: %v %v", one, failed)
	}
	if _, err := s.Manifest(t.Context(), backup.Name(instance, "3")); !errors.Is(err, backup.ErrNotFound) {
		t.Error(err)
	}
	t.Run("a damaged one does not hide the others", func(t *testing.T) {
		if err := s.replace(t, backup.Stored{Object: first.Name() + ".json"}, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		all, failed := list("")
		if len(all) != 1 || len(failed) != 1 || !errors.Is(failed[0], backup.ErrDamaged) {
			t.Errorf("%v %v", all, failed)
		}
	})
	t.Run("one of another backup", func(t *testing.T) {
		text, err := json.Marshal(second)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.replace(t, backup.Stored{Object: first.Name() + ".json"}, text); err != nil {
			t.Fatal(err)
		}
		_, err = s.Manifest(t.Context(), first.Name())
		is(t, err, backup.ErrDamaged)
	})
	for _, m := range []backup.Manifest{first, second} {
		if err := s.Delete(t.Context(), m.Name()); err != nil {
			t.Error(err)
		}
	}
	s.isEmpty(t)
}

// A chain whose parts do not fit together is damaged, and one that lacks a part is reported.
func TestChains(t *testing.T) {
	s := newStore(t)
	chain := make([]backup.Manifest, 3)
	for i := range chain {
		chain[i] = manifest(t, string(rune('1'+i)))
		chain[i].Created = chain[i].Created.Add(time.Duration(i) * time.Hour)
		if i > 0 {
			chain[i].Base, chain[i].Stored.Contents.Incremental = chain[i-1].ID, true
		}
		if err := s.PutManifest(t.Context(), chain[i]); err != nil {
			t.Fatal(err)
		}
	}
	found, err := s.Chain(t.Context(), chain[2])
	if err != nil || len(found) != 3 || found[0].ID != "3" || found[2].ID != "1" {
		t.Errorf("%v, %v", found, err)
	}
	loop := manifest(t, "1")
	loop.Base, loop.Stored.Contents.Incremental = "3", true
	later, foreign := manifest(t, "1"), manifest(t, "1")
	later.Created = later.Created.Add(24 * time.Hour)
	foreign.Instance.BackendType = "database/mysql"
	for name, changed := range map[string]backup.Manifest{"a loop": loop, "a later base": later, "another type": foreign} {
		if err := s.PutManifest(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Chain(t.Context(), chain[2]); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Delete(t.Context(), chain[0].Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Chain(t.Context(), chain[2]); !errors.Is(err, backup.ErrNotFound) {
		t.Error(err)
	}
}

func TestDecodeManifest(t *testing.T) {
	text := func(change func(*backup.Manifest)) string {
		m := manifest(t, "1")
		change(&m)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	good := text(func(*backup.Manifest) {})
	if _, err := backup.DecodeManifest([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":               {"", "JSON object"},
		"a list":                {"[]", "JSON object"},
		"an unknown key":        {strings.Replace(good, `"id"`, `"extra":1,"id"`, 1), "extra"},
		"two":                   {good + "{}", "JSON object"},
		"a later version":       {strings.Replace(good, `"version":1`, `"version":2,"new":3`, 1), "version 2"},
		"no version":            {strings.Replace(good, `"version":1,`, ``, 1), "version 0"},
		"too long":              {good + strings.Repeat(" ", 1<<20), "bytes"},
		"an id with a path":     {text(func(m *backup.Manifest) { m.ID = "../1" }), "id:"},
		"a name with a path":    {text(func(m *backup.Manifest) { m.Instance.Name = "../../etc" }), "instance.name"},
		"another's copy":        {text(func(m *backup.Manifest) { m.Stored.Object = backup.Name(instance, "2") + ".abcdefgh.age" }), "stored.object"},
		"a path in the copy":    {text(func(m *backup.Manifest) { m.Stored.Object = m.Name() + "./../x.age" }), "stored.object"},
		"a negative size":       {text(func(m *backup.Manifest) { m.Stored.Raw = -1 }), "sizes"},
		"no stored size":        {text(func(m *backup.Manifest) { m.Stored.Stored = 0 }), "sizes"},
		"a short sum":           {text(func(m *backup.Manifest) { m.Stored.SHA256 = "00" }), "sha256"},
		"a sum in capitals":     {text(func(m *backup.Manifest) { m.Stored.SHA256 = strings.Repeat("0A", 32) }), "sha256"},
		"no format":             {text(func(m *backup.Manifest) { m.Stored.Contents.Format = "" }), "format"},
		"a base with a path":    {text(func(m *backup.Manifest) { m.Base, m.Stored.Contents.Incremental = "../2", true }), "base:"},
		"its own base":          {text(func(m *backup.Manifest) { m.Base, m.Stored.Contents.Incremental = "1", true }), "base:"},
		"a base of a full copy": {text(func(m *backup.Manifest) { m.Base = "2" }), "base:"},
		"an increment alone":    {text(func(m *backup.Manifest) { m.Stored.Contents.Incremental = true }), "base:"},
		"no recipients":         {text(func(m *backup.Manifest) { m.Recipients = nil }), "recipients"},
		"a damaged recipient":   {text(func(m *backup.Manifest) { m.Recipients[0] += "x" }), "recipients[0]"},
		"parameters of a list":  {text(func(m *backup.Manifest) { m.Instance.Parameters = json.RawMessage("[]") }), "parameters"},
		"no time":               {text(func(m *backup.Manifest) { m.Created = time.Time{} }), "created"},
		"no plan":               {text(func(m *backup.Manifest) { m.Instance.PlanID = "" }), "plan_id"},
		"no type of a backend":  {text(func(m *backup.Manifest) { m.Instance.BackendType = "" }), "backend_type"},
		"no id of the instance": {text(func(m *backup.Manifest) { m.Instance.ID = "" }), "instance.id"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := backup.DecodeManifest([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %q", err, c.says)
			}
		})
	}
}

// A manifest that is accepted names only its own objects, and is the same after another round.
func FuzzDecodeManifest(f *testing.F) {
	good, err := json.Marshal(manifest(f, "1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := backup.DecodeManifest(data)
		if err != nil {
			return
		}
		parts := strings.Split(m.Stored.Object, "/")
		if len(parts) != 2 || slices.Contains(parts, "..") || parts[0] != m.Instance.Name {
			t.Errorf("it names %q", m.Stored.Object)
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := backup.DecodeManifest(again); err != nil || n.Name() != m.Name() {
			t.Errorf("%v: %s", err, again)
		}
	})
}
