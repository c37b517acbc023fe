package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) {
	server := newServer(t)
	servicetest.Run(t, server.suite())
	server.nothingLeft(t)
}

func (s *testServer) suite() servicetest.Suite {
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	return servicetest.Suite{
		Definition: Definition(),
		Address:    s.admin.Host,
		Config:     s.config,
		Secrets:    []string{adminPassword, hash(adminPassword)},
		Plan:       raw(`{"connections_per_binding": 6, "bindings": 20, "storage": "100MB", "statement_timeout": "30s"}`),
		OtherPlan:  raw(`{"connections_per_binding": 12, "bindings": 30, "storage": "1GB"}`),
		Create: []json.RawMessage{
			raw(`{}`),
			raw(`{"character_set": "latin2", "collate": "latin2_general_ci"}`),
			raw(`{"collate": "utf8mb4_unicode_ci"}`),
		},
		Bind:     []json.RawMessage{raw(`{}`)},
		BindSame: []json.RawMessage{raw(`{"role": "read_write"}`)},
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{
				"an unknown character set":        raw(`{"character_set": "klingon"}`),
				"a character set in upper case":   raw(`{"character_set": "LATIN2"}`),
				"a collation with a quote":        raw(`{"collate": "latin2_general_ci'"}`),
				"a collation with SQL":            raw(`{"collate": "x; DROP DATABASE mysql"}`),
				"a number as character set":       raw(`{"character_set": 8}`),
				"a binding's parameter":           raw(`{"role": "read_only"}`),
				"a key in the wrong case":         raw(`{"Collate": "latin2_bin"}`),
				"another backend's parameter":     raw(`{"extensions": ["citext"]}`),
				"a list of collations":            raw(`{"collate": ["latin2_bin"]}`),
				"a collation longer than a name":  raw(`{"collate": "` + strings.Repeat("a", 65) + `"}`),
				"a collation with a line's end":   raw(`{"collate": "latin2_bin\n"}`),
				"a character set and white space": raw(`{"character_set": "latin2 "}`),
			},
			Bind: map[string]json.RawMessage{
				"an unknown role":      raw(`{"role": "root"}`),
				"an empty role":        raw(`{"role": ""}`),
				"roles as a list":      raw(`{"role": ["read_only"]}`),
				"a role in upper case": raw(`{"role": "READ_ONLY"}`),
			},
		},
		ReadOnly: raw(`{"role": "read_only"}`),
		Reach:    reach,
		Limits:   limitsThatHold(),
		Break: map[string]func(context.Context, map[string]any) error{
			"SET PASSWORD":      breaks("SET PASSWORD = PASSWORD('mine')"),
			"an empty password": breaks("SET PASSWORD = ''"),
		},
		Left: s.leftOf,
		Fill: fillAll,
	}
}

// breaks runs a statement as the application.
func breaks(statement string) func(context.Context, map[string]any) error {
	return func(ctx context.Context, credentials map[string]any) error {
		s, err := mysqldb.Dial(ctx, credentials)
		if err != nil {
			return err
		}
		_, err = clientOf(s).Conn.ExecContext(ctx, statement)
		return errors.Join(err, s.Close())
	}
}

// leftOf looks for everything that is named after the instance or one of its bindings.
func (s *testServer) leftOf(ctx context.Context, instance string, bindings []string) ([]string, error) {
	return s.column(ctx, everything("REGEXP '"+strings.Join(append(bindings, instance), "|")+"'"))
}

func limitsThatHold() []servicetest.Limit {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return []servicetest.Limit{
		{Name: "connections per binding", Plan: raw(`{"connections_per_binding": 2}`), Holds: holdsPerBinding},
		{Name: "statement time-out", Plan: raw(`{"statement_timeout": "100ms"}`), Holds: holdsStatementTimeout},
		{Name: "storage", Plan: raw(`{"storage": "4MB"}`), Holds: holdsStorage},
	}
}

// openSessions opens n sessions and returns how many the server accepted.
func openSessions(t *testing.T, n int, credentials map[string]any) int {
	t.Helper()
	in := 0
	for range n {
		s, err := mysqldb.Dial(testContext(t), credentials)
		if err != nil {
			continue
		}
		in++
		defer s.Close()
	}
	return in
}

func holdsPerBinding(t *testing.T, use servicetest.Use) {
	one, two := use.Bind(t, nil), use.Bind(t, nil)
	if in := openSessions(t, 5, one); in != 2 {
		t.Errorf("%d sessions of one binding were let in", in)
	}
	if in := openSessions(t, 5, two); in != 2 {
		t.Errorf("%d sessions of another binding were let in", in)
	}
}

func application(t *testing.T, credentials map[string]any) *client {
	t.Helper()
	return dialled(t, services.Credentials{Values: credentials})
}

func expect(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}

func holdsStatementTimeout(t *testing.T, use servicetest.Use) {
	s := application(t, use.Bind(t, nil))
	expect(t, s.run(t, "SELECT COUNT(*) FROM seq_1_to_100000000 a, seq_1_to_100000000 b"), "max_statement_time exceeded")
}

func holdsStorage(t *testing.T, use servicetest.Use) {
	credentials := use.Bind(t, nil)
	application(t, credentials).must(t, makeBig, fill)
	if note := use.Reconcile(t); !strings.HasPrefix(note, "storage: ") {
		t.Errorf("note: %q", note)
	}
	expect(t, application(t, credentials).run(t, "INSERT INTO big VALUES (0, '')"), "INSERT command denied")
	application(t, credentials).must(t, "SELECT COUNT(*) FROM big", "TRUNCATE big")
	if note := use.Reconcile(t); note != "" {
		t.Errorf("note: %q", note)
	}
	application(t, credentials).must(t, "INSERT INTO big VALUES (0, '')")
}
