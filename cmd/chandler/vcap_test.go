package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// What brokers put into VCAP_SERVICES.
const (
	// a tag, a URI with TLS parameters
	taggedService = `{"name":"state","instance_name":"state","binding_name":null,"label":"csb-google","tags":["gcp","PostgreSQL"],
		"credentials":{"uri":"postgresql://u:Se%2Fcret@db.example.com:5433/d?sslmode=verify-full","jdbcUrl":"jdbc:postgresql://x"}}`
	// RDS-like: parts under names of their own, the port a string
	partsService = `{"name":"rds","label":"aws-rds-postgres","tags":["database","RDS"],
		"credentials":{"host":"rds.example.com","port":"5432","username":"u","password":"Se/cret@","db_name":"d"}}`
	// SAP-like: the port a number, an IPv6 address
	numberService = `{"name":"hyper","label":"postgresql-db","tags":[],
		"credentials":{"hostname":"fd00::1","port":5434,"user":"u","password":"Secret","dbname":"d","sslmode":"require"}}`
	// cf create-user-provided-service: neither tags nor a label of its own
	userService = `{"name":"mine","label":"user-provided","tags":[],"credentials":{"uri":"postgres://u:Secret@h/d"}}`
	// what is no PostgreSQL
	otherService = `{"name":"mail","label":"smtp","tags":["smtp"],"credentials":{"uri":"smtp://u:Secret@h"}}`
)

func bound(services ...string) string { return `{"l":[` + strings.Join(services, ",") + `]}` }

func TestStateFromVCAP(t *testing.T) {
	for _, c := range []struct{ name, vcap, service, url, want string }{
		{name: "a tag", vcap: bound(taggedService), want: "postgresql://u:Se%2Fcret@db.example.com:5433/d?sslmode=verify-full"},
		{name: "beside another service", vcap: bound(otherService, taggedService), want: "postgresql://u:Se%2Fcret@db.example.com:5433/d?sslmode=verify-full"},
		{name: "parts", vcap: bound(partsService), want: "postgres://u:Se%2Fcret%40@rds.example.com:5432/d"},
		{name: "a number and IPv6", vcap: bound(numberService), want: "postgres://u:Secret@[fd00::1]:5434/d?sslmode=require"},
		{name: "user-provided", vcap: bound(userService), want: "postgres://u:Secret@h/d"},
		{name: "one of two", vcap: bound(userService, partsService), service: "mine", want: "postgres://u:Secret@h/d"},
		{name: "DATABASE_URL wins", vcap: bound(userService, partsService), url: "postgres://own", want: "postgres://own"},
		{name: "a name wins over DATABASE_URL", vcap: bound(userService), url: "mysql2://h", service: "mine", want: "postgres://u:Secret@h/d"},
		{name: "none", vcap: bound(otherService)},
		{name: "nothing bound", vcap: "{}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := readSettings(lookupIn(map[string]string{"VCAP_SERVICES": c.vcap, "CHANDLER_STATE_SERVICE": c.service, "DATABASE_URL": c.url}))
			if err != nil || s.DatabaseURL != c.want {
				t.Fatalf("got %q, %v, want %q", s.DatabaseURL, err, c.want)
			}
			if c.want == "" || c.url != "" && c.service == "" {
				return
			}
			if _, err := pgx.ParseConfig(s.DatabaseURL); err != nil {
				t.Errorf("the driver refuses it: %v", err)
			}
		})
	}
}

func TestStateFromVCAPFaults(t *testing.T) {
	for _, c := range []struct{ name, vcap, service, want string }{
		{"two", bound(userService, partsService), "", `several PostgreSQL services are bound, "mine" and "rds": set CHANDLER_STATE_SERVICE`},
		{"not bound", bound(userService), "state", `"state", which is not bound; bound services: "mine"`},
		{"two of a name", bound(userService, userService), "mine", "several services have this name"},
		{"no VCAP_SERVICES", "", "mine", "VCAP_SERVICES is not set"},
		{"no JSON", `{"Secret`, "", "VCAP_SERVICES must be a JSON object"},
		{"another type", `{"l":{"Secret":1}}`, "", "VCAP_SERVICES must be a JSON object"},
		{"no PostgreSQL", bound(otherService), "mail", `service "mail": its uri must be a PostgreSQL URL`},
		{"a broken URI", bound(`{"name":"x","label":"postgres","credentials":{"uri":"postgres://u:Secret%zz@h/d"}}`), "", "its uri must be a PostgreSQL URL"},
		{"no password", bound(`{"name":"x","label":"postgres","credentials":{"host":"h","username":"Secret"}}`), "", "neither uri nor password"},
		{"no port", bound(`{"name":"x","label":"postgres","credentials":{"host":"h","username":"u","password":"Secret","name":"d","port":"p"}}`), "", "its port must be"},
		{"CredHub", bound(`{"name":"x","label":"postgres","credentials":{"credhub-ref":"/c/Secret"}}`), "", "unresolved CredHub reference"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readSettings(lookupIn(map[string]string{"VCAP_SERVICES": c.vcap, "CHANDLER_STATE_SERVICE": c.service}))
			if !isUsage(err) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want a usage error with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "Secret") {
				t.Errorf("credentials are told: %v", err)
			}
		})
	}
}

// Whatever is bound, there is a URL that the driver takes as far as its shape
// goes, or an error, or nothing.
func FuzzStateFromVCAP(f *testing.F) {
	for _, s := range []string{taggedService, partsService, numberService, userService, otherService} {
		f.Add(bound(s), "")
	}
	f.Add(bound(userService, partsService), "mine")
	f.Fuzz(func(t *testing.T, vcap, service string) {
		s, err := readSettings(lookupIn(map[string]string{"VCAP_SERVICES": vcap, "CHANDLER_STATE_SERVICE": service}))
		if err != nil && (!isUsage(err) || s.DatabaseURL != "") {
			t.Errorf("got %q beside %v", s.DatabaseURL, err)
		}
		if s.DatabaseURL != "" && !strings.HasPrefix(strings.ToLower(s.DatabaseURL), "postgres") {
			t.Errorf("no PostgreSQL URL: %q", s.DatabaseURL)
		}
	})
}
