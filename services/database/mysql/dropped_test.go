package mysql

import (
	"context"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// Verify, a bind and an update each create a database again that an application dropped.
func TestDroppedDatabaseComesBack(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", func(i *instance) { i.Params.CharacterSet = "latin2" })
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd, credentials := bound(t, b, inst, "b", access.ReadWrite)
	for name, makes := range map[string]func(context.Context) error{
		"verify": func(ctx context.Context) error { return servicetest.Once(b).Verify(ctx, inst, bd) },
		"bind": func(ctx context.Context) error {
			_, err := servicetest.Once(b).Bind(ctx, inst, newBinding(t, inst, "another", access.ReadOnly))
			return err
		},
		"update": func(ctx context.Context) error { return servicetest.Once(b).Update(ctx, inst, inst) },
	} {
		t.Run(name, func(t *testing.T) {
			dialled(t, credentials).must(t, "DROP DATABASE "+b.names.database(inst.Name))
			found, err := b.List(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				if f.Binding == "" {
					t.Errorf("listed though it was dropped: %+v", f)
				}
			}
			if err := makes(ctx); err != nil {
				t.Fatal(err)
			}
			if set := dialled(t, credentials).ask(t, "SELECT @@character_set_database"); set != "latin2" {
				t.Errorf("character set: %s", set)
			}
		})
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}

// If nothing is left of an instance, the error says what to do.
func TestDatabaseWithoutTrace(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	for name, call := range map[string]func() error{
		"bind": func() error {
			_, err := servicetest.Once(b).Bind(ctx, inst, newBinding(t, inst, "b", access.ReadWrite))
			return err
		},
		"update": func() error { return servicetest.Once(b).Update(ctx, inst, inst) },
	} {
		_, rejected := services.IsRejected(call())
		if !rejected {
			t.Errorf("%s: the user is told nothing at once", name)
		}
	}
	server.nothingLeft(t)
}

// List returns an interrupted deprovision's leftovers, which an operator can remove: the closed
// account of a binding whose database no longer exists.
func TestAccountWithoutDatabaseIsListed(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd, _ := bound(t, b, inst, "b", access.ReadWrite)
	server.exec(t, "CALL chandler.close_account('"+b.names.account(bd.Name)+"'); DROP DATABASE "+b.names.database(inst.Name))
	found, err := b.List(ctx)
	if err != nil || len(found) != 1 || found[0].Instance != inst.Name || found[0].Binding != bd.Name {
		t.Errorf("listed: %v, %v", found, err)
	}
	if err := servicetest.Patient(b).Unbind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}
