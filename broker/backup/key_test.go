package backup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/credhub"
)

// values is a credential store of one test.
type values struct {
	credhub.Store
	stored map[string]json.RawMessage
}

func (v values) Ensure(_ context.Context, path credhub.Path, value json.RawMessage) (json.RawMessage, error) {
	if err := credhub.CheckValue(value); err != nil {
		return nil, err
	}
	if v.stored[path.String()] == nil {
		v.stored[path.String()] = value
	}
	return v.stored[path.String()], nil
}

func (v values) Get(_ context.Context, path credhub.Path) (json.RawMessage, error) {
	value, ok := v.stored[path.String()]
	if !ok {
		return nil, credhub.ErrNotFound
	}
	return value, nil
}

func (v values) Delete(_ context.Context, path credhub.Path) error {
	delete(v.stored, path.String())
	return nil
}

func TestKeys(t *testing.T) {
	store := values{stored: map[string]json.RawMessage{}}
	_, err := backup.LoadKey(t.Context(), store, instance)
	is(t, err, backup.ErrKey)
	made, err := backup.EnsureKey(t.Context(), store, instance)
	if err != nil {
		t.Fatal(err)
	}
	again, err := backup.EnsureKey(t.Context(), store, instance)
	if err != nil || again.Recipient().String() != made.Recipient().String() {
		t.Errorf("another key: %v", err)
	}
	loaded, err := backup.LoadKey(t.Context(), store, instance)
	if err != nil || loaded.Recipient().String() != made.Recipient().String() {
		t.Errorf("another key: %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, printed := range []any{made, &made, struct{ Key backup.Key }{made}} {
			if text := fmt.Sprintf(verb, printed); strings.Contains(text, "SECRET") || !strings.Contains(text, "redacted") {
				t.Errorf("%s prints %s", verb, text)
			}
		}
	}
	for _, damaged := range []string{`{}`, `{"identity": "AGE-SECRET-KEY-1ABC"}`, `{"identity": 5}`} {
		for path := range store.stored {
			store.stored[path] = json.RawMessage(damaged)
		}
		_, err := backup.LoadKey(t.Context(), store, instance)
		is(t, err, backup.ErrKey)
		if strings.Contains(err.Error(), "1ABC") {
			t.Errorf("%q quotes the key", err)
		}
	}
	if err := backup.DeleteKey(t.Context(), store, instance); err != nil {
		t.Error(err)
	}
	_, err = backup.LoadKey(t.Context(), store, instance)
	is(t, err, backup.ErrKey)
}

func TestParseIdentity(t *testing.T) {
	store := values{stored: map[string]json.RawMessage{}}
	if _, err := backup.EnsureKey(t.Context(), store, instance); err != nil {
		t.Fatal(err)
	}
	var stored struct{ Identity string }
	for _, value := range store.stored {
		if err := json.Unmarshal(value, &stored); err != nil {
			t.Fatal(err)
		}
	}
	file := "# created: 2026-06-01\n# public key: age1…\n" + stored.Identity + "\n"
	if _, err := backup.ParseIdentity(strings.NewReader(file)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "# nothing", file + file, "age1xyz", file + "x"} {
		if _, err := backup.ParseIdentity(strings.NewReader(bad)); err == nil || strings.Contains(err.Error(), stored.Identity) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
