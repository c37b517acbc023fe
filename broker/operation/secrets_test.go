package operation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/services"
)

// logged is a log that several goroutines write.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// dump returns every row of every table in the database as text.
func dump(t *testing.T, h *brokertest.Harness) string {
	t.Helper()
	ctx := context.Background()
	tables := query[[]string](t, h, "select array_agg(format('%I.%I', schemaname, tablename)) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')")
	var text strings.Builder
	for _, table := range tables {
		rows, err := h.Store.Pool.Query(ctx, "select to_json(t)::text from "+table+" t")
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&text, table, strings.Join(lines, "\n"))
	}
	return text.String()
}

// However a backend lets a password slip out, it is in no log and in no table,
// and no client is shown it.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	log := &logged{}
	h := replicas(t, 1, brokertest.Options{
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), AsyncWait: 1,
	})[0]
	slips := []func(password string) error{
		func(p string) error { return errors.New("ALTER ROLE x PASSWORD '" + p + "' failed") },
		func(p string) error { return fmt.Errorf("connect with %s: %w", p, context.DeadlineExceeded) },
		func(p string) error { return fmt.Errorf("connect with %s: %w", p, context.Canceled) },
		func(p string) error { return services.NotYet(1, "waiting for "+p) },
		func(p string) error { panic("password " + p) },
		func(p string) error { panic(errors.New("password " + p)) },
		func(p string) error { return fmt.Errorf("rejected: %w", services.Rejected("not %s", p)) },
	}
	var mu sync.Mutex
	passwords := map[string]bool{}
	n := 0
	h.Backend.AfterCall(func(_ context.Context, verb, _, password string) error {
		if verb != "bind" {
			return nil
		}
		mu.Lock()
		passwords[password] = true
		slip := slips[n%len(slips)]
		n++
		mu.Unlock()
		return slip(password)
	})
	done(t, h, provision(t, h, "i", brokertest.Cascading, `{"colour": "unmistakable"}`))
	var texts []string
	for _, id := range []string{bind(t, h, "i", "b1", brokertest.Cascading), bind(t, h, "i", "b2", brokertest.Cascading)} {
		op := h.AwaitOperation(t, id)
		if op.Outcome != "rejected" {
			t.Errorf("ended as %s", op.Outcome)
		}
		texts = append(texts, op.Description, op.LastError)
	}
	h.Backend.AfterCall(nil)
	done(t, h, bind(t, h, "i", "b3", brokertest.Cascading))
	var made struct{ Password string }
	if err := json.Unmarshal(credentials(t, h, "i", "b3"), &made); err != nil || made.Password == "" {
		t.Fatal("no password")
	}
	passwords[made.Password] = true
	if len(passwords) != 3 {
		t.Fatalf("%d passwords", len(passwords))
	}
	everything := map[string]string{"the log": log.String(), "the state database": dump(t, h), "what users are shown": strings.Join(texts, "\n")}
	for place, text := range everything {
		if len(text) < 20 {
			t.Errorf("%s is empty", place)
		}
		for p := range passwords {
			if strings.Contains(text, p) {
				t.Errorf("a password is in %s", place)
			}
		}
	}
	if strings.Contains(log.String(), "unmistakable") {
		t.Error("a parameter is in the log")
	}
	audit := query[string](t, h, "select string_agg(to_json(a)::text, '') from audit a")
	jobs := query[string](t, h, "select string_agg(to_json(j)::text, '') from river_job j")
	if strings.Contains(audit+jobs, "unmistakable") {
		t.Error("a parameter is in the audit record or in the job queue")
	}
}
