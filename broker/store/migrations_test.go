package store_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// firstChecked is the first migration that was written with the rule of
// TestMigrationsDoNotDeadlock in mind.
const firstChecked = "00014"

// Replicas of the release before work while a migration runs. They hold locks of one table while
// they wait for another's, and read a table before they write to it. A migration deadlocks with them
// unless it locks only one of the tables that exist, at once with its strongest lock.
func TestMigrationsDoNotDeadlock(t *testing.T) {
	s := migrated(t)
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	ctx := t.Context()
	conn, err := s.Pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "create schema empty; set search_path to empty"); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		tx, err := conn.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		checked := filepath.Base(file) >= firstChecked
		old, held := tables(ctx, t, tx), map[string]int{}
		for _, statement := range statementsUp(t, file) {
			if _, err := tx.Exec(ctx, statement); err != nil {
				t.Fatalf("%s: %v\n%s", file, err, statement)
			}
			for table, lock := range tableLocks(ctx, t, tx, old) {
				if before, ok := held[table]; checked && ok && lock > before {
					t.Errorf("%s raises its lock on %q, with\n%s\nBegin with the statement that needs the strongest lock.", file, table, statement)
				}
				held[table] = lock
			}
		}
		if checked && len(held) > 1 {
			t.Errorf("%s locks %d tables that exist before it (%v); divide it", file, len(held), held)
		}
		if err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// up and block match a migration's way forward, and a statement in it that contains semicolons.
var (
	up    = regexp.MustCompile(`(?s)-- \+goose Up\n(.*)-- \+goose Down`)
	block = regexp.MustCompile(`(?s)-- \+goose StatementBegin\n(.*?)-- \+goose StatementEnd\n`)
)

func statementsUp(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := up.FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s has no way up", file)
	}
	var statements []string
	rest := string(found[1])
	for rest != "" {
		at := block.FindStringSubmatchIndex(rest)
		if at == nil {
			at = []int{len(rest), len(rest), 0, 0}
		}
		statements = append(statements, strings.SplitAfter(rest[:at[0]], ";\n")...)
		statements = append(statements, rest[at[2]:at[3]])
		rest = rest[at[1]:]
	}
	return slices.DeleteFunc(statements, func(s string) bool { return strings.TrimSpace(s) == "" })
}

func tables(ctx context.Context, t *testing.T, tx pgx.Tx) (names []string) {
	t.Helper()
	rows, err := tx.Query(ctx, "select relname::text from pg_class where relnamespace = 'empty'::regnamespace and relkind = 'r'")
	if err == nil {
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// tableLocks are the strongest locks that tx holds on some of the tables, as indexes of a list from
// weak to strong (PostgreSQL manual, section 13.3.1). Those with which others may read and write do
// not count.
func tableLocks(ctx context.Context, t *testing.T, tx pgx.Tx, among []string) map[string]int {
	t.Helper()
	rows, err := tx.Query(ctx, `select relname::text, max(array_position(array['ShareUpdateExclusiveLock', 'ShareLock',
		'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'], mode)) from pg_locks join pg_class c on c.oid = relation
		where pid = pg_backend_pid() and relkind = 'r' and relname = any($1) and relnamespace = 'empty'::regnamespace group by 1`, among)
	if err != nil {
		t.Fatal(err)
	}
	locks := map[string]int{}
	var table string
	var lock *int
	_, err = pgx.ForEachRow(rows, []any{&table, &lock}, func() error {
		if lock != nil {
			locks[table] = *lock
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return locks
}
