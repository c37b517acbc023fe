package sealed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
	"github.com/chandler-broker/chandler/credhub/sealed"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// database connects to a database of t's own.
func database(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), embeddedtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// keys parses lines of a key file.
func keys(t *testing.T, lines ...string) sealed.Keys {
	t.Helper()
	k, err := sealed.ParseKeys([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t *testing.T, pool *pgxpool.Pool, lines ...string) *sealed.Store {
	t.Helper()
	s, err := sealed.Open(t.Context(), pool, keys(t, lines...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put stores a secret with a text that cannot occur by chance.
func put(t *testing.T, s *sealed.Store, instance string) (credhub.Path, json.RawMessage) {
	t.Helper()
	path, value := credhub.SeedPath(instance, "b"), json.RawMessage(`{"password":"plain-text-of-`+instance+`"}`)
	if err := s.Put(t.Context(), path, value); err != nil {
		t.Fatal(err)
	}
	return path, value
}

func mustHold(t *testing.T, s *sealed.Store, path credhub.Path, want json.RawMessage) {
	t.Helper()
	if got, err := s.Get(t.Context(), path); err != nil || string(got) != string(want) {
		t.Errorf("Get(%s) = %d bytes, %v", path, len(got), err)
	}
}

func mustExec(t *testing.T, pool *pgxpool.Pool, statement string, args ...any) {
	t.Helper()
	if tag, err := pool.Exec(t.Context(), statement, args...); err != nil || tag.RowsAffected() == 0 {
		t.Fatalf("%s: %v, %v", statement, tag, err)
	}
}

func TestSuite(t *testing.T) {
	pool, key := database(t), sealed.GenerateKey()
	credtest.Run(t, func(t *testing.T) credhub.Store { return open(t, pool, key) })
}

func TestOpenAtOnce(t *testing.T) {
	pool, k := database(t), keys(t, sealed.GenerateKey())
	var openers sync.WaitGroup
	for range 16 {
		openers.Go(func() {
			if _, err := sealed.Open(t.Context(), pool, k); err != nil {
				t.Error(err)
			}
		})
	}
	openers.Wait()
}

// In production the role may use the tables, but not create any.
func TestOpenWithoutTheRightToCreate(t *testing.T) {
	pool := database(t)
	key := sealed.GenerateKey()
	open(t, pool, key)
	config := pool.Config()
	role := "user_" + strings.ToLower(strings.NewReplacer("+", "", "/", "", "=", "").Replace(sealed.GenerateKey())[:12])
	mustDo := func(statement string) {
		t.Helper()
		if _, err := pool.Exec(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	mustDo("CREATE ROLE " + role)
	t.Cleanup(func() { mustDo("DROP OWNED BY " + role); mustDo("DROP ROLE " + role) })
	mustDo("GRANT SELECT, INSERT, UPDATE, DELETE ON sealed_secrets TO " + role)
	config.ConnConfig.RuntimeParams["role"] = role
	limited, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(limited.Close)
	credtest.Run(t, func(t *testing.T) credhub.Store { return open(t, limited, key) })
}

func TestNothingInPlainText(t *testing.T) {
	pool, key := database(t), sealed.GenerateKey()
	s := open(t, pool, key)
	path, value := put(t, s, "hidden")
	if _, err := s.Ensure(t.Context(), credhub.SeedPath("hidden", "other"), value); err != nil {
		t.Fatal(err)
	}
	rows, err := pool.Query(t.Context(), "SELECT r::text, encode(wrapped_key, 'escape'), encode(sealed, 'escape') FROM sealed_secrets r")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := 0
	for rows.Next() {
		var columns [3]string
		if err := rows.Scan(&columns[0], &columns[1], &columns[2]); err != nil {
			t.Fatal(err)
		}
		found++
		for _, column := range columns {
			for _, secret := range []string{"plain-text", "password", fmt.Sprintf("%x", "plain-text"), key} {
				if strings.Contains(column, secret) {
					t.Errorf("the table contains %q", secret)
				}
			}
		}
	}
	if rows.Err() != nil || found != 2 {
		t.Fatalf("%d rows, %v", found, rows.Err())
	}
	mustHold(t, s, path, value)
}

// Two envelopes of the same value have nothing in common.
func TestSealedAnewEachTime(t *testing.T) {
	pool := database(t)
	s := open(t, pool, sealed.GenerateKey())
	read := func() (wrapped, content string) {
		t.Helper()
		put(t, s, "same")
		if err := pool.QueryRow(t.Context(), "SELECT wrapped_key::text, sealed::text FROM sealed_secrets").Scan(&wrapped, &content); err != nil {
			t.Fatal(err)
		}
		return wrapped, content
	}
	firstKey, firstContent := read()
	if secondKey, secondContent := read(); firstKey == secondKey || firstContent == secondContent {
		t.Error("two envelopes of the same value have the same key or content")
	}
}

func TestTampering(t *testing.T) {
	swap := func(columns ...string) string {
		var set []string
		for _, c := range columns {
			set = append(set, c+" = o."+c)
		}
		return "UPDATE sealed_secrets s SET " + strings.Join(set, ", ") + " FROM sealed_secrets o WHERE s.path <> o.path"
	}
	flip := func(column string, byteNumber string) string {
		return fmt.Sprintf("UPDATE sealed_secrets SET %[1]s = set_byte(%[1]s, %[2]s, get_byte(%[1]s, %[2]s) # 1)", column, byteNumber)
	}
	for name, statement := range map[string]string{
		"rows swapped":                   swap("wrapped_key", "sealed"),
		"values swapped":                 swap("sealed"),
		"keys swapped":                   swap("wrapped_key"),
		"first bit of the value flipped": flip("sealed", "0"),
		"last bit of the value flipped":  flip("sealed", "length(sealed) - 1"),
		"bit within the value flipped":   flip("sealed", "14"),
		"first bit of the key flipped":   flip("wrapped_key", "0"),
		"last bit of the key flipped":    flip("wrapped_key", "length(wrapped_key) - 1"),
		"value cut off":                  "UPDATE sealed_secrets SET sealed = substring(sealed for length(sealed) - 1)",
		"value emptied":                  "UPDATE sealed_secrets SET sealed = ''",
		"key emptied":                    "UPDATE sealed_secrets SET wrapped_key = ''",
		"value in place of the key":      "UPDATE sealed_secrets SET wrapped_key = sealed",
		"labelled with another key":      "UPDATE sealed_secrets SET key_id = $1",
	} {
		t.Run(name, func(t *testing.T) {
			pool, key, other := database(t), sealed.GenerateKey(), sealed.GenerateKey()
			s := open(t, pool, key, other)
			one, _ := put(t, s, "one")
			two, _ := put(t, s, "two")
			var args []any
			if strings.Contains(statement, "$1") {
				args = append(args, keys(t, other).IDs()[0])
			}
			mustExec(t, pool, statement, args...)
			for _, path := range []credhub.Path{one, two} {
				got, gotten := s.Get(t.Context(), path)
				found, ensured := s.Ensure(t.Context(), path, json.RawMessage(`{"new":1}`)) // must not treat it as absent
				if got != nil || found != nil {
					t.Error("the store opens it")
				}
				for _, err := range []error{gotten, ensured} {
					if err == nil || errors.Is(err, credhub.ErrNotFound) || !strings.Contains(err.Error(), "changed or put in place of another") {
						t.Errorf("%v, want that it was changed", err)
					}
				}
			}
		})
	}
}

func TestDatabaseAway(t *testing.T) {
	pool := database(t)
	s := open(t, pool, sealed.GenerateKey())
	path, value := put(t, s, "away")
	mustExecAny(t, pool, "ALTER TABLE sealed_secrets RENAME TO elsewhere")
	_, ensured := s.Ensure(t.Context(), path, value)
	_, gotten := s.Get(t.Context(), path)
	for method, err := range map[string]error{
		"Ensure": ensured, "Get": gotten, "Put": s.Put(t.Context(), path, value),
		"Delete": s.Delete(t.Context(), path), "Ready": s.Ready(t.Context()),
	} {
		if err == nil || errors.Is(err, credhub.ErrNotFound) || strings.Contains(err.Error(), "plain-text") {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := s.Rewrap(t.Context()); err == nil {
		t.Error("Rewrap returns no error")
	}
}

func mustExecAny(t *testing.T, pool *pgxpool.Pool, statement string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
