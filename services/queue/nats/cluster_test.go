package nats

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The same on three servers: an application may be connected to any of them.
func TestSuiteOnCluster(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{Nodes: 3})
	s := suite(t, server)
	s.Again = true
	servicetest.Run(t, s)
}

// A cluster that lost a server goes on: streams with copies take messages, and
// the broker makes and revokes. The server that comes back learns what it missed.
func TestClusterLosesAServer(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{Nodes: 3})
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("replicated", nil))
	revoked := newBinding(t, inst, "revoked", nil)
	revokedCredentials, err := servicetest.Patient(b).Bind(testContext(t), inst, revoked)
	if err != nil {
		t.Fatal(err)
	}
	owner := newBinding(t, inst, "owner", nil)
	ownerCredentials, err := servicetest.Patient(b).Bind(testContext(t), inst, owner)
	if err != nil {
		t.Fatal(err)
	}
	writer := dialled(t, ownerCredentials.Values)
	if _, err := writer.stream.CreateStream(testContext(t), jetstream.StreamConfig{Name: "COPIED", Subjects: []string{"copied"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}

	const lost = 2 // the backend is connected to the first
	server.StopNode(lost)
	server.awaitLeader(t)
	stays := dialled(t, only(server, 0, ownerCredentials.Values))
	stays.publishes(t, "copied")
	if err := b.Ready(testContext(t)); err != nil {
		t.Errorf("ready: %v", err)
	}
	if err := servicetest.Patient(b).Unbind(testContext(t), inst, revoked); err != nil {
		t.Fatalf("unbind: %v", err)
	}
	if _, err := dial(testContext(t), only(server, 1, revokedCredentials.Values)); err == nil {
		t.Error("the revoked credentials still work")
	}
	another := b.provisioned(t, newInstance("another", nil))
	b.bound(t, another, newBinding(t, another, "b", nil)).works(t)
	eventually(t, "deprovision waits for the server that has a copy", func() bool {
		notYet, ok := errors.AsType[*services.NotYetError](servicetest.Once(b).Deprovision(testContext(t), another))
		if !ok {
			t.Fatal("deprovision does not wait")
		}
		return strings.Contains(notYet.Note, "server n3, which is away")
	})

	if err := server.StartNode(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server that was away refuses who was revoked", func() bool {
		s, err := dial(testContext(t), only(server, lost, revokedCredentials.Values))
		if err == nil {
			_ = s.Close()
		}
		return errors.Is(err, nats.ErrAuthorization)
	})
	back := dialled(t, only(server, lost, ownerCredentials.Values))
	stream, err := back.stream.Stream(testContext(t), "COPIED")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.GetLastMsgForSubject(testContext(t), "copied"); err != nil || string(m.Data) != "x" {
		t.Errorf("the stream has %v, %v", m, err)
	}
	for _, gone := range []instance{another, inst} {
		if err := servicetest.Patient(b).Deprovision(testContext(t), gone); err != nil {
			t.Fatalf("deprovision: %v", err)
		}
	}
	for _, gone := range []instance{another, inst} {
		eventually(t, "nothing is left", func() bool {
			left, err := server.leftOf(b.keys)(t.Context(), gone.Name, nil)
			if err != nil {
				t.Fatal(err)
			}
			return len(left) == 0
		})
	}
}

// only are the credentials with one of the servers.
func only(s *testServer, node int, values map[string]any) map[string]any {
	one := map[string]any{}
	for k, v := range values {
		one[k] = v
	}
	one["uri"] = s.URLs()[node]
	return one
}

// awaitLeader waits until there is a server that makes and removes streams: when
// the one that did is lost, an election may need several rounds of up to nine
// seconds, in which the engine would try again.
func (s *testServer) awaitLeader(t *testing.T) {
	t.Helper()
	conn, err := nats.Connect(s.URL(), nats.UserCredentials(s.SystemCredsFile()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "the cluster has a leader", func() bool {
		_, err := conn.Request(streamSubject, []byte(`{"leader_only":true}`), 5*time.Second)
		return err == nil
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (c *client) works(t *testing.T) {
	t.Helper()
	if err := c.Write(testContext(t), "k", "v"); err != nil {
		t.Errorf("write: %v", err)
	}
	if v, err := c.Read(testContext(t), "k"); v != "v" || err != nil {
		t.Errorf("read: %q, %v", v, err)
	}
}

// publishes publishes until the stream has a leader again.
func (c *client) publishes(t *testing.T, subject string) {
	t.Helper()
	eventually(t, "the stream takes messages", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.stream.Publish(ctx, subject, []byte("x"))
		return err == nil
	})
}

// Each copy of a message counts, so an instance takes no more of the servers'
// disks than its plan says. A server hears of the others' copies a moment later.
func TestCopiesCount(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{Nodes: 3})
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("copies", func(p *Plan) { p.Storage = 3 * services.Megabyte }))
	s := b.bound(t, inst, newBinding(t, inst, "b", nil))
	if _, err := s.stream.CreateStream(testContext(t), jetstream.StreamConfig{Name: "COPIED", Subjects: []string{"copied"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	const message = 256 * services.Kilobyte
	var refusal error
	taken := services.Size(0)
	for refusal == nil && taken <= inst.Plan.Storage {
		// A stream that was made a moment ago may not be heard of everywhere.
		_, refusal = s.stream.Publish(testContext(t), "copied", make([]byte, message), jetstream.WithRetryAttempts(100))
		if refusal == nil {
			taken += 3 * message
			eventually(t, "every server knows of all copies", func() bool { return b.leastStorage(t, inst) >= taken })
		}
	}
	expect(t, refusal, "resource limits exceeded for account")
	if taken > inst.Plan.Storage {
		t.Errorf("%s were taken", taken)
	}
	fitting, smaller := inst, inst
	fitting.Plan.Storage, smaller.Plan.Storage = taken+message, services.Megabyte
	if err := servicetest.Patient(b).Update(testContext(t), inst, fitting); err != nil {
		t.Errorf("an update to more than is used: %v", err)
	}
	if message, rejected := services.IsRejected(servicetest.Patient(b).Update(testContext(t), fitting, smaller)); !rejected || !strings.Contains(message, "plan allows 1 MB") {
		t.Errorf("an update to less than is used: %q", message)
	}
}

// leastStorage is what the server that knows least says that an instance takes.
func (b *backend) leastStorage(t *testing.T, inst instance) services.Size {
	t.Helper()
	a, err := b.account(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := b.link.reports(testContext(t), a.servers, "ask for all accounts", `{"accounts": true}`)
	if err != nil {
		t.Fatal(err)
	}
	least := services.Size(math.MaxInt64)
	for _, r := range answers {
		known := services.Size(0)
		for _, account := range r.Accounts {
			if account.ID == a.public {
				known = services.Size(account.Storage)
			}
		}
		least = min(least, known)
	}
	return least
}
