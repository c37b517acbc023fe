package nats

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// An application that sends requests to JetStream's API without waiting for their
// answers holds up nobody else's unbind and deprovision.
func TestFloodHoldsUpNobody(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b, ctx := server.backend(t), testContext(t)
	flooder := b.provisioned(t, newInstance("flooder", nil))
	credentials, err := servicetest.Patient(b).Bind(ctx, flooder, newBinding(t, flooder, "b", nil))
	if err != nil {
		t.Fatal(err)
	}
	other := b.provisioned(t, newInstance("other", nil))
	bd := newBinding(t, other, "b", nil)
	session := b.bound(t, other, bd)
	session.works(t)
	flooding, stop := context.WithCancel(ctx)
	// One connection: the race detector slows the goroutine that sends the server's answers
	// more than those that compose them, and a second flood would fill that queue for good.
	// Without the detector, the server stands both.
	var flood sync.WaitGroup
	conn := dialled(t, credentials.Values).conn
	flood.Go(func() {
		for i := 0; flooding.Err() == nil; i++ {
			subject := []string{"$JS.API.STREAM.LIST", "$JS.API.INFO", "$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.DELETE.X"}[i%4]
			_ = conn.PublishRequest(subject, nats.NewInbox(), []byte(`{"name":"X","subjects":["x"]}`)) // may be cut
		}
	})
	defer flood.Wait()
	defer stop()
	// An error is tried again, as the engine does.
	within := func(what string, verb func(context.Context) error) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			err := servicetest.ToTheEnd(ctx, verb)
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: not done within a minute: %v", what, err)
			}
		}
	}
	within("unbind", func(ctx context.Context) error { return servicetest.Once(b).Unbind(ctx, other, bd) })
	if session.Ping(ctx) == nil {
		t.Error("the session outlived its binding")
	}
	within("deprovision", func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, other) })
}
