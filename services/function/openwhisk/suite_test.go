package openwhisk

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) {
	server := newServer(t)
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	servicetest.Run(t, servicetest.Suite{
		Definition: Definition(),
		Address:    server.address(t),
		Config:     func(address string) json.RawMessage { return server.config(t, address) },
		Secrets:    []string{server.AdminToken()},
		Plan:       raw(`{"label": "suite", "memory": "128MB", "invocations_per_minute": 10000}`),
		OtherPlan:  raw(`{"label": "other", "memory": "256MB", "timeout": "90s", "actions": 50, "concurrency": 7}`),
		Create:     []json.RawMessage{raw(`{}`), raw(`{"mounts": []}`)},
		Update:     []json.RawMessage{raw(`{"mounts": []}`)},
		Bind:       []json.RawMessage{raw(`{}`)},
		BindSame:   []json.RawMessage{raw(`{"role": "read_write"}`)},
		ReadOnly:   raw(`{"role": "invoke"}`),
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{
				"a binding's parameter":         raw(`{"role": "invoke"}`),
				"mounts that are not a list":    raw(`{"mounts": {}}`),
				"a mount that is not an object": raw(`{"mounts": ["/a"]}`),
				"a mount without an instance":   raw(`{"mounts": [{"path": "/a"}]}`),
				"a mount without a path":        raw(`{"mounts": [{"instance": "i"}]}`),
				"a mount of the root":           raw(`{"mounts": [{"instance": "i", "path": "/"}]}`),
				"a mount upwards":               raw(`{"mounts": [{"instance": "i", "path": "/a/../../etc"}]}`),
				"a mount of a folder":           raw(`{"mounts": [{"folder": "/etc", "path": "/a"}]}`),
				"two mounts at one path":        raw(`{"mounts": [{"instance": "i", "path": "/a"}, {"instance": "j", "path": "/a"}]}`),
			},
			Update: map[string]json.RawMessage{"a mount of the root": raw(`{"mounts": [{"instance": "i", "path": "/"}]}`)},
			Bind: map[string]json.RawMessage{
				"an unknown role":      raw(`{"role": "admin"}`),
				"an empty role":        raw(`{"role": ""}`),
				"roles as a list":      raw(`{"role": ["invoke"]}`),
				"a role in upper case": raw(`{"role": "INVOKE"}`),
				"the user's own key":   raw(`{"key": "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"}`),
			},
		},
		Reach:  reach,
		Limits: limitsThatHold(),
		Fill:   fill,
		Left:   server.leftOf,
	})
}

// leftOf lists the tables that still hold rows of the namespace or a binding.
func (s *testServer) leftOf(ctx context.Context, instance string, bindings []string) (left []string, err error) {
	conn, err := pgx.Connect(ctx, s.database)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	// Of "usage" is left what runtimes counted in this minute; they forget it after two.
	rows, _ := conn.Query(ctx, `select table_name, column_name from information_schema.columns
		where table_schema = 'functions' and table_name <> 'usage' and (column_name = 'namespace' or (table_name = 'namespaces' and column_name = 'name'))`)
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Column string }])
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		var there bool
		query := "select exists (select from functions." + c.Table + " where " + c.Column + " = $1)"
		if err := conn.QueryRow(ctx, query, instance).Scan(&there); err != nil {
			return nil, err
		}
		if there {
			left = append(left, c.Table)
		}
	}
	for _, b := range bindings {
		var there bool
		if err := conn.QueryRow(ctx, "select exists (select from functions.keys where binding = $1)", b).Scan(&there); err != nil {
			return nil, err
		}
		if there {
			left = append(left, "key "+b)
		}
	}
	return left, nil
}

// reach tries to get at another tenant's namespace with the user's own key.
func reach(t *testing.T, mine, theirs map[string]any) {
	a, b := newApplication(t, mine), newApplication(t, theirs)
	b.expect(t, 200, "PUT", b.own("/actions/secret?overwrite=true"), javascript(hello))
	b.expect(t, 200, "PUT", b.own("/packages/theirs?overwrite=true"), object{"publish": false})
	b.expect(t, 200, "PUT", b.own("/triggers/t?overwrite=true"), object{})
	b.expect(t, 200, "PUT", b.own("/rules/r?overwrite=true"), object{"trigger": "/_/t", "action": "/_/secret"})
	record, _ := b.expect(t, 200, "POST", b.own("/actions/secret?blocking=true"), object{}).(object)
	id, _ := record["activationId"].(string)
	if id == "" {
		t.Errorf("no activation: %v", record)
	}
	their := "/namespaces/" + b.namespace
	for _, try := range []struct {
		method, path string
		body         any
	}{
		{"GET", their + "/actions", nil}, {"GET", their + "/actions/secret", nil}, {"GET", their + "/actions/secret?code=true", nil},
		{"POST", their + "/actions/secret?blocking=true", object{}}, {"DELETE", their + "/actions/secret", nil},
		{"PUT", their + "/actions/secret?overwrite=true", javascript(spin)}, {"PUT", their + "/actions/planted", javascript(spin)},
		{"GET", their + "/packages/theirs", nil}, {"DELETE", their + "/packages/theirs", nil}, {"PUT", their + "/packages/planted", object{}},
		{"GET", their + "/triggers", nil}, {"POST", their + "/triggers/t", object{}}, {"DELETE", their + "/triggers/t", nil},
		{"GET", their + "/rules", nil}, {"POST", their + "/rules/r", object{"status": "inactive"}}, {"DELETE", their + "/rules/r", nil},
		{"GET", their + "/activations", nil}, {"GET", their + "/activations/" + id, nil}, {"GET", their + "/activations/" + id + "/logs", nil},
		{"GET", their + "/limits", nil},
		{"GET", a.own("/activations/" + id), nil}, {"GET", a.own("/activations/" + id + "/result"), nil},
		{"PUT", a.own("/rules/mine"), object{"trigger": "/" + b.namespace + "/t", "action": "/" + b.namespace + "/secret"}},
		{"PUT", a.own("/packages/bound"), object{"binding": object{"namespace": b.namespace, "name": "theirs"}}},
		{"PUT", a.own("/actions/sequence"), object{"exec": object{"kind": "sequence", "components": []string{"/" + b.namespace + "/secret"}}}},
		{"GET", "/web/" + b.namespace + "/default/secret.json", nil},
	} {
		if status, answer := a.do(t, try.method, try.path, try.body); status < 400 || status > 499 {
			t.Errorf("%s %s: %d %.300v", try.method, try.path, status, answer)
		}
	}
	reachWithHalfAKey(t, a, b)
	b.expect(t, 200, "POST", b.own("/actions/secret?blocking=true"), object{})
	if text := fmt.Sprint(b.expect(t, 200, "GET", b.own("/actions"), nil)); strings.Contains(text, "planted") {
		t.Errorf("planted: %s", text)
	}
}

// reachWithHalfAKey tries the halves of two keys together, and none.
func reachWithHalfAKey(t *testing.T, a, b application) {
	t.Helper()
	for _, try := range []application{
		{b.host, b.user, a.password, b.namespace, a.client}, {b.host, a.user, b.password, b.namespace, a.client},
		{b.host, b.user, "", b.namespace, a.client}, {b.host, "", "", b.namespace, a.client},
		{b.host, b.namespace, b.password, b.namespace, a.client}, {b.host, b.user + "'--", b.password, b.namespace, a.client},
	} {
		try.expect(t, 401, "GET", "/namespaces/"+b.namespace+"/actions", nil)
	}
}
