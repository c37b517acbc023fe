// Package admintest gives tests of the runtime an operator, who makes namespaces and
// keys through the administration API.
package admintest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/admin"
	"github.com/chandler-broker/chandler/functions/state"
)

// Token is accepted by the API of an Operator.
const Token = "token-of-the-tests-operator" //nolint:gosec // of tests

// Operator administers the namespaces of a database.
type Operator struct {
	Store *state.Store
	URL   string // of the administration API, without a path
}

// Open migrates the database and serves the administration API of it until t ends.
func Open(t testing.TB, database string) *Operator {
	t.Helper()
	store, err := state.Open(t.Context(), database, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	log := slog.New(slog.DiscardHandler)
	if err := store.Migrate(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	authenticator, err := admin.NewAuthenticator([]byte(Token), nil)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(admin.New(admin.Options{Store: store, Authenticator: authenticator, Logger: log}))
	t.Cleanup(server.Close)
	return &Operator{store, server.URL}
}

// Do makes a request of a path below the API's prefix. A body is a string, or sent as JSON.
func (o *Operator) Do(t testing.TB, method, path string, body any) (status int, answer map[string]any) {
	t.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(raw)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, o.URL+admin.Prefix+path, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+Token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(bytes.TrimSpace(content)) > 0 {
		if err := json.Unmarshal(content, &answer); err != nil {
			t.Fatalf("%s %s: %s: %v", method, path, content, err)
		}
	}
	return response.StatusCode, answer
}

// Expect is Do that fails t where the status is another one.
func (o *Operator) Expect(t testing.TB, want int, method, path string, body any) map[string]any {
	t.Helper()
	status, answer := o.Do(t, method, path, body)
	if status != want {
		t.Fatalf("%s %s: %d, want %d: %v", method, path, status, want, answer)
	}
	return answer
}

// Limits are OpenWhisk's defaults.
func Limits() state.Limits {
	const mb = 1 << 20
	return state.Limits{
		Plan: "default", MemoryBytes: 256 * mb, TimeoutMillis: 60_000, LogBytes: mb, CodeBytes: 48 * mb, PayloadBytes: mb,
		Concurrency: 100, InvocationsPerMinute: 120, FiresPerMinute: 60, SequenceLength: 50,
		Actions: 100, Triggers: 50, Rules: 100, Packages: 50, RetentionSeconds: 7 * 24 * 3600, ActivationBytes: 100 * mb,
		MessageAttempts: 5, DeadLetters: 1000,
	}
}

// Mount is a directory of a namespace.
type Mount = admin.Mount

// Body is that of a namespace.
func Body(limits state.Limits, mounts ...Mount) map[string]any {
	if mounts == nil {
		mounts = []Mount{}
	}
	return map[string]any{"limits": limits, "mounts": mounts}
}

// Namespace makes or changes a namespace.
func (o *Operator) Namespace(t testing.TB, name string, limits state.Limits, mounts ...Mount) {
	t.Helper()
	o.Expect(t, http.StatusNoContent, http.MethodPut, "namespaces/"+name, Body(limits, mounts...))
}

// Key makes a new key of a namespace, as OpenWhisk's clients take it.
func (o *Operator) Key(t testing.TB, namespace, name string) (id, key string) {
	t.Helper()
	id, key = uuid.NewString(), rand.Text()+rand.Text()
	o.Expect(t, http.StatusNoContent, http.MethodPut, "namespaces/"+namespace+"/keys/"+name,
		map[string]any{"id": id, "key": key, "role": state.ReadWrite})
	return id, key
}

// Rows counts what is left of a namespace in each table that has a column for it.
func (o *Operator) Rows(t testing.TB, namespace string) map[string]int {
	t.Helper()
	rows, _ := o.Store.Pool.Query(t.Context(), `select table_name, column_name from information_schema.columns
		where table_schema = 'functions' and (column_name = 'namespace' or (table_name = 'namespaces' and column_name = 'name'))`)
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Column string }])
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]int{}
	for _, c := range columns {
		var n int
		if err := o.Store.Pool.QueryRow(t.Context(), "select count(*) from "+c.Table+" where "+c.Column+" = $1", namespace).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			left[c.Table] = n
		}
	}
	return left
}
