package nats

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// A broker was killed after it sent a change. The next one finds the change in the servers'
// files, or sends the same, while the servers still apply it. Its answer must hold at once.
func TestOrdersOfAKilledBroker(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	killed, next := server.backend(t), server.backend(t)
	inst := next.provisioned(t, newInstance("orders", nil))
	for range 100 {
		// A binding has the second in it: in another one the orders differ.
		for time.Now().Nanosecond() > 5e8 {
			time.Sleep(10 * time.Millisecond)
		}
		bd := newBinding(t, inst, "b", nil)
		k, err := deriveBinding(bd.Seed)
		if err != nil {
			t.Fatal(err)
		}
		killed.orders(t, inst, func(a *account) { a.admit(bd.Name, k.signerPublic, permissions(bd.Params)) })
		credentials, err := servicetest.Patient(next).Bind(testContext(t), inst, bd)
		if err != nil {
			t.Fatal(err)
		}
		session := dialled(t, credentials.Values)
		if err := session.Ping(testContext(t)); err != nil {
			t.Fatalf("bound: %v", err)
		}
		killed.orders(t, inst, func(a *account) { a.expel(bd.Name) })
		if err := servicetest.Patient(next).Unbind(testContext(t), inst, bd); err != nil {
			t.Fatal(err)
		}
		if err := session.Ping(testContext(t)); err == nil {
			t.Fatal("the session outlived its binding")
		}
	}
}

// orders changes an instance's account and waits for no answer.
func (b *backend) orders(t *testing.T, inst instance, change func(*account)) {
	t.Helper()
	a, err := b.account(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	change(a)
	token, err := a.signed()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := b.link.get(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.PublishRequest(updateSubject, nats.NewInbox(), []byte(token)); err != nil {
		t.Fatal(err)
	}
}
