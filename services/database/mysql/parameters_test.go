package mysql

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The database has the parameters' character set and collation.
func TestCharacterSets(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	for _, test := range []struct {
		name          string
		params        InstanceParams
		made, refused string
	}{
		{"nothing", InstanceParams{}, "utf8mb4/utf8mb4_general_ci", ""},
		{"Trove's example", InstanceParams{CharacterSet: "latin2", Collate: "latin2_general_ci"}, "latin2/latin2_general_ci", ""},
		{"a character set", InstanceParams{CharacterSet: "latin2"}, "latin2/latin2_general_ci", ""},
		{"a collation", InstanceParams{Collate: "cp1250_czech_cs"}, "cp1250/cp1250_czech_cs", ""},
		{"utf8 by its old name", InstanceParams{CharacterSet: "utf8", Collate: "utf8_general_ci"}, "utf8mb3/utf8mb3_general_ci", ""},
		{"bytes", InstanceParams{CharacterSet: "binary"}, "binary/binary", ""},
		{"another's collation", InstanceParams{CharacterSet: "latin2", Collate: "utf8mb4_bin"}, "", "choose one of latin2_bin, latin2_croatian_ci, latin2_czech_cs"},
		{"another's collation, by the old name", InstanceParams{CharacterSet: "utf8", Collate: "latin2_bin"}, "", "utf8mb3_general_ci"},
		{"an unknown collation", InstanceParams{CharacterSet: "latin2", Collate: "latin2_klingon_ci"}, "", "choose one of latin2_bin"},
		{"an unknown collation alone", InstanceParams{Collate: "klingon"}, "", "give the character_set as well"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inst := newInstance(test.name, func(i *instance) { i.Params = test.params })
			err := servicetest.Once(b).Provision(testContext(t), inst)
			if message, rejected := services.IsRejected(err); rejected != (test.refused != "") || !strings.Contains(message, test.refused) {
				t.Fatalf("%v, want %q", err, test.refused)
			}
			made := server.rootAsk(t, "SELECT GROUP_CONCAT(CONCAT(DEFAULT_CHARACTER_SET_NAME, '/', DEFAULT_COLLATION_NAME)) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '"+b.names.database(inst.Name)+"'")
			if made != test.made {
				t.Errorf("made: %q, want %q", made, test.made)
			}
			if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
				t.Fatal(err)
			}
		})
	}
	// The schema's list and the server's are the same.
	known, err := server.column(t.Context(), "SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS UNION SELECT 'utf8' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct{ Enum []string }
	}
	if err := json.Unmarshal(services.ReadSchemas(schemas).InstanceCreate, &schema); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(known, mysqldb.CharacterSets()); diff != "" {
		t.Errorf("character sets (-server +code):\n%s", diff)
	}
	if diff := cmp.Diff(mysqldb.CharacterSets(), schema.Properties["character_set"].Enum); diff != "" {
		t.Errorf("character sets (-code +schema):\n%s", diff)
	}
	server.nothingLeft(t)
}

func TestCheckUpdate(t *testing.T) {
	b := &backend{}
	was := newInstance("i", func(i *instance) { i.Params = InstanceParams{CharacterSet: "latin2"} })
	for name, test := range map[string]struct {
		next InstanceParams
		want string
	}{
		"the same":              {InstanceParams{CharacterSet: "latin2"}, ""},
		"nothing":               {InstanceParams{}, ""},
		"no longer the default": {InstanceParams{CharacterSet: "utf8mb4"}, "parameters.character_set: fixed at creation"},
		"another character set": {InstanceParams{CharacterSet: "latin1"}, "parameters.character_set: fixed at creation"},
		"another collation":     {InstanceParams{CharacterSet: "latin2", Collate: "latin2_bin"}, "parameters.collate: fixed at creation"},
	} {
		t.Run(name, func(t *testing.T) {
			next := was
			next.Params = test.next
			message, _ := services.IsRejected(b.CheckUpdate(services.UpdateRequest[Plan, InstanceParams]{Previous: was, Instance: next}))
			if (message == "") != (test.want == "") || !strings.HasPrefix(message, test.want) {
				t.Errorf("%q, want %q", message, test.want)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for _, test := range []struct{ name, config, want string }{
		{"least", `{"url": "mysql://a:b@db.example"}`, ""},
		{"all", `{"url": "mysql://a:b@db.example:3307/x", "host": "h", "port": 1, "tls": "verify", "prefix": "abc", "max_connections": 1}`, ""},
		{"nothing", `{}`, "url: must be mysql://"},
		{"another scheme", `{"url": "postgres://a:secret@h/x"}`, "url: must be mysql://"},
		{"no host", `{"url": "mysql://a:secret@/x"}`, "url: must be mysql://"},
		{"no user", `{"url": "mysql://h/x"}`, "url: must be mysql://"},
		{"no password", `{"url": "mysql://a@h/x"}`, "url: must have a password"},
		{"options", `{"url": "mysql://a:secret@h/x?tls=true"}`, "url: takes no options"},
		{"an invalid port", `{"url": "mysql://a:secret@h:99999/x"}`, "url: has an invalid port"},
		{"a database with a quote", "{\"url\": \"mysql://a:secret@h/x`y\"}", "url: the database"},
		{"a tenant's database", `{"url": "mysql://a:secret@h/c_x"}`, "url: the database must not begin"},
		{"no such tls", `{"url": "mysql://a:secret@h", "tls": "yes"}`, "tls: must be"},
		{"a bad certificate", `{"url": "mysql://a:secret@h", "ca": "x"}`, "ca: is not a certificate"},
		{"both certificates", `{"url": "mysql://a:secret@h", "ca": "x", "ca_file": "y"}`, "ca_file: cannot be given together"},
		{"a bad prefix", `{"url": "mysql://a:secret@h", "prefix": "a_b"}`, "prefix: must be"},
		{"no connections", `{"url": "mysql://a:secret@h", "max_connections": 0}`, "max_connections: must be"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := services.Decode[Config](json.RawMessage(test.config))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	for _, test := range []struct{ name, plan, want string }{
		{"nothing", `{}`, ""},
		{"all", `{"connections_per_binding": 1, "bindings": 1, "storage": "1MB", "statement_timeout": "1ms"}`, ""},
		{"no connections", `{"connections_per_binding": 0}`, "connections_per_binding: must be"},
		{"no bindings", `{"bindings": 0}`, "bindings: must be"},
		{"too little storage", `{"storage": "1023kB"}`, "storage: must be"},
		{"a number as storage", `{"storage": 5}`, "storage: must be"},
		{"storage past all numbers", `{"storage": "9999999TB"}`, "storage: must be"},
		{"a time-out of two days", `{"statement_timeout": "48h"}`, "statement_timeout: must be"},
		{"a time-out below a millisecond", `{"statement_timeout": "1us"}`, "statement_timeout: must be"},
		{"another backend's key", `{"spares": 1}`, "spares: no such key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := services.Decode[Plan](json.RawMessage(test.plan))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// Every error is explained, and wraps its cause.
func TestExplain(t *testing.T) {
	cause := errors.New("x")
	if err := explain("do it", cause); !errors.Is(err, cause) || err.Error() != "do it: x" {
		t.Error(err)
	}
	if err := explain("do it", nil); err != nil {
		t.Error(err)
	}
	if _, rejected := services.IsRejected(explain("do it", services.Rejected("no"))); !rejected {
		t.Error("a refusal became something else")
	}
}
