package rabbitmq

import (
	"context"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// After a crash of the server, everything that it confirmed is still there: instances,
// bindings, limits and durable messages. Repeating an interrupted verb completes it.
func TestServerCrash(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "crash")
	inst := provisioned(t, b, "crash", func(i *instance) { i.Plan.Queues = 2 })
	credentials := bound(t, b, inst, "b", `{}`)
	s := dialled(t, credentials)
	if err := s.Write(testContext(t), "k", "kept"); err != nil {
		t.Fatal(err)
	}
	// RabbitMQ may lose a queue that was declared in its last moments; what users
	// and virtual hosts change is written at once, with all that was before it.
	bound(t, b, inst, "another", `{}`)
	half := newInstance("half", func(i *instance) { i.Plan.QueueMessages = 10 })
	t.Cleanup(func() {
		if err := servicetest.Patient(b).Deprovision(testContext(t), half); err != nil {
			t.Error(err)
		}
	})
	began := make(chan error, 1)
	go func() { began <- servicetest.Once(b).Provision(testContext(t), half) }()
	process := embeddedtest.RabbitMQ(t)
	process.Kill()
	if err := <-process.Done(); err == nil {
		t.Error("the process reports no error after it was killed")
	}
	if err := <-began; err == nil {
		t.Log("the provision was faster than the crash")
	}
	if err := b.Ready(testContext(t)); err == nil {
		t.Error("ready without the server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := process.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(testContext(t)); err == nil {
		t.Error("the session outlived the server")
	}
	again := dialled(t, credentials)
	if value, err := again.Read(testContext(t), "k"); err != nil || value != "kept" {
		t.Errorf("%q, %v", value, err)
	}
	must(t, again, declares("second", nil))
	expect(t, again.channel(testContext(t), declares("third", nil)), "limit")
	if err := servicetest.Patient(b).Provision(testContext(t), half); err != nil {
		t.Fatal(err)
	}
	if taken := fill(t, declared(t, bound(t, b, half, "b", `{}`), "q"), "q", "m"); taken > 11 {
		t.Errorf("the completed instance has no limit: it took %d messages", taken)
	}
}

func declared(t *testing.T, credentials map[string]any, queue string) *client {
	t.Helper()
	s := dialled(t, credentials)
	must(t, s, declares(queue, nil))
	return s
}
