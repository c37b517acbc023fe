package postgres

import (
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// A tenant may grant another tenant's roles access to its database. That must not prevent the
// other tenant's removal.
func TestForeignGrantsDoNotHoldARole(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "foreign")
	hostile, victim := newInstance("hostile", nil), newInstance("victim", nil)
	bindings := map[string]binding{}
	sessions := map[string]*client{}
	for _, inst := range []instance{hostile, victim} {
		if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
			t.Fatal(err)
		}
		bindings[inst.ID] = newBinding(t, inst, "b", access.ReadWrite)
		c, err := servicetest.Once(b).Bind(ctx, inst, bindings[inst.ID])
		if err != nil {
			t.Fatal(err)
		}
		sessions[inst.ID] = dialled(t, c)
	}
	if _, err := servicetest.Once(b).Bind(ctx, victim, newBinding(t, victim, "reader", access.ReadOnly)); err != nil {
		t.Fatal(err)
	}
	mine, theirs := b.names.role(bindings["hostile"].Name), b.names.role(bindings["victim"].Name)
	n := b.names.instance(victim.Name)
	sessions["hostile"].must(t, `CREATE TABLE bait (n int);
		GRANT ALL ON bait TO `+theirs+`, `+n.owner+`, `+n.reader+`;
		GRANT SELECT ON bait TO `+mine+` WITH GRANT OPTION;
		GRANT CONNECT ON DATABASE `+b.names.instance(hostile.Name).database+` TO `+theirs+`, `+n.owner+`;
		REVOKE ALL ON DATABASE `+b.names.instance(hostile.Name).database+` FROM chandler_admin;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO `+theirs+`;
		SET ROLE NONE; GRANT SELECT ON bait TO `+theirs+`, `+n.owner)
	if err := servicetest.Patient(b).Unbind(ctx, victim, bindings["victim"]); err != nil {
		t.Fatal(err)
	}
	if err := sessions["victim"].Ping(ctx); err == nil {
		t.Error("the session goes on")
	}
	if err := servicetest.Patient(b).Deprovision(ctx, victim); err != nil {
		t.Fatal(err)
	}
	sessions["hostile"].must(t, "SELECT * FROM bait")
	if err := servicetest.Patient(b).Deprovision(ctx, hostile); err != nil {
		t.Fatal(err)
	}
	if _, err := servicetest.Once(b).Reconcile(ctx, nil, nil); err != nil {
		t.Fatal(err)
	}
	if left := server.left(t, "foreign"); left != nil {
		t.Fatalf("left behind: %v", left)
	}
}

// A tenant's settings of its database must neither affect the administrator's sessions there
// nor prevent them.
func TestHostileSettings(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "hostile")
	inst := newInstance("i", func(i *instance) { i.Plan.Extensions = []string{"citext"} })
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd := newBinding(t, inst, "b", access.ReadWrite)
	creds, err := servicetest.Once(b).Bind(ctx, inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	s := dialled(t, creds)
	db := b.names.instance(inst.Name).database
	s.must(t, `CREATE TABLE stolen (who text);
		CREATE FUNCTION public.current_database() RETURNS name LANGUAGE sql AS $$ INSERT INTO public.stolen VALUES (session_user); SELECT 'x'::name $$;
		CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.stolen VALUES (session_user); SELECT 'x' $$;
		CREATE VIEW public.pg_class AS SELECT 1;
		ALTER DATABASE `+db+` SET search_path = public, pg_catalog;
		ALTER DATABASE `+db+` SET default_transaction_read_only = on;
		ALTER DATABASE `+db+` SET statement_timeout = 1;
		ALTER DATABASE `+db+` SET standard_conforming_strings = off;
		ALTER DATABASE `+db+` SET role = '`+b.names.instance(inst.Name).owner+`';
		ALTER DATABASE `+db+` IS_TEMPLATE true;
		REVOKE ALL ON DATABASE `+db+` FROM chandler_admin;
		SET default_transaction_read_only = off; SET statement_timeout = 0; SET ROLE NONE; CREATE SCHEMA own; CREATE TABLE own.own (n int)`)
	if _, err := servicetest.Once(b).Bind(ctx, inst, newBinding(t, inst, "reader", access.ReadOnly)); err != nil {
		t.Errorf("read_only bind: %v", err)
	}
	next := inst
	next.Params.Extensions = []string{"citext"}
	if err := servicetest.Once(b).Update(ctx, inst, next); err != nil {
		t.Errorf("update: %v", err)
	}
	again := dialled(t, creds)
	var stolen int
	if err := again.Conn.QueryRowContext(ctx, "SELECT count(*) FROM public.stolen").Scan(&stolen); err != nil || stolen != 0 {
		t.Errorf("the tenant's functions were run %d times as somebody else, %v", stolen, err)
	}
	if err := servicetest.Patient(b).Unbind(ctx, inst, bd); err != nil {
		t.Errorf("unbind: %v", err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if left := server.left(t, "hostile"); left != nil {
		t.Fatalf("left behind: %v", left)
	}
}

// Holding all connections of a database does not prevent the administrator from connecting.
func TestAdministratorGetsInPastTheLimit(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "crowd")
	inst := newInstance("i", func(i *instance) { i.Plan.Connections = 2 })
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	one, two := newBinding(t, inst, "1", access.ReadWrite), newBinding(t, inst, "2", access.ReadWrite)
	c1, err := servicetest.Once(b).Bind(ctx, inst, one)
	if err != nil {
		t.Fatal(err)
	}
	c2, err := servicetest.Once(b).Bind(ctx, inst, two)
	if err != nil {
		t.Fatal(err)
	}
	s := dialled(t, c1)
	s.must(t, "SET ROLE NONE; CREATE SCHEMA own; CREATE TABLE own.own (n int)")
	dialled(t, c2)
	if _, err := dial(ctx, c2.Values); err == nil || !strings.Contains(err.Error(), "too many connections") {
		t.Fatalf("a third connection: %v", err)
	}
	if _, err := servicetest.Once(b).Bind(ctx, inst, newBinding(t, inst, "reader", access.ReadOnly)); err != nil {
		t.Errorf("read_only bind: %v", err)
	}
	if err := servicetest.Patient(b).Unbind(ctx, inst, one); err != nil {
		t.Error(err)
	}
	if limit := server.ask(t, "SELECT datconnlimit FROM pg_database WHERE datname = 'crowd_"+inst.Name+"'"); limit != "2" {
		t.Errorf("limit: %s", limit)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
}
