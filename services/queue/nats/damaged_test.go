package nats

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// A server whose disk was full may have emptied or truncated an account's file, and still
// apply what it had read. The bindings are not lost, and a revoked one stays revoked.
func TestDamagedAccount(t *testing.T) {
	for name, left := range map[string]int64{"empty": 0, "cut off": 100} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, embedded.NATSOptions{})
			b, ctx := server.backend(t), testContext(t)
			inst := b.provisioned(t, newInstance("damaged", nil))
			first, second := newBinding(t, inst, "first", nil), newBinding(t, inst, "second", nil)
			working, revoked := b.bound(t, inst, first), b.bound(t, inst, second)
			damage := func() {
				t.Helper()
				public, err := b.keys.account(inst.Name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(filepath.Join(server.dir, "n1", "accounts", public+".jwt"), left); err != nil {
					t.Fatal(err)
				}
			}
			damage()
			b.bound(t, inst, newBinding(t, inst, "third", nil)).works(t)
			damage()
			if err := servicetest.Patient(b).Unbind(ctx, inst, second); err != nil {
				t.Fatal(err)
			}
			if revoked.Ping(ctx) == nil {
				t.Error("a binding that was removed is let in")
			}
			damage()
			if err := servicetest.Patient(b).Provision(ctx, inst); err != nil {
				t.Errorf("provision again: %v", err)
			}
			working.works(t)
			damage()
			if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
				t.Fatal(err)
			}
			if left, err := server.leftOf(b.keys)(ctx, inst.Name, nil); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// Where the server has started anew since, the account is gone, and deprovision
// removes what is left.
func TestLostAccount(t *testing.T) {
	server, ctx := newServer(t, embedded.NATSOptions{}), testContext(t)
	before := server.backend(t)
	inst := before.provisioned(t, newInstance("lost", nil))
	bd := newBinding(t, inst, "b", nil)
	before.bound(t, inst, bd).works(t)
	public, err := before.keys.account(inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	server.StopNode(0)
	if err := os.Truncate(filepath.Join(server.dir, "n1", "accounts", public+".jwt"), 100); err != nil {
		t.Fatal(err)
	}
	if err := server.StartNode(ctx, 0); err != nil {
		t.Fatal(err)
	}
	b := server.backend(t)
	_, err = servicetest.Patient(b).Bind(ctx, inst, bd)
	expect(t, err, "provision the instance again")
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if left, err := server.leftOf(b.keys)(ctx, inst.Name, nil); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
