package mysql

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The server is restarted while the backend and applications are connected.
func TestServerRestarts(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd, credentials := bound(t, b, inst, "b", access.ReadWrite)
	dialled(t, credentials).must(t, "CREATE TABLE t (n INT)")
	for name, end := range map[string]func(){
		"restart": func() {},
		"kill -9": server.mariadb.Kill,
	} {
		end()
		if err := server.mariadb.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.Ready(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := servicetest.Once(b).Bind(ctx, inst, bd); err != nil || again.Values["password"] != credentials.Values["password"] {
			t.Errorf("%s: bind: %v", name, err)
		}
		dialled(t, credentials).must(t, "INSERT INTO t VALUES (1)")
	}
	if err := servicetest.Patient(b).Unbind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}

// A server that accepts connections and sends nothing, or nothing more, and one that sends
// nonsense cause an error in time that is not reported as the user's.
func TestStrangeServers(t *testing.T) {
	server := newServer(t)
	servicetest.RunStrangeServers(t, server.small(), map[string]servicetest.Strange{
		"hangs":          servicetest.Hangs,
		"talks HTTP":     servicetest.Says("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"says goodbye":   servicetest.Says("\x17\x00\x00\x00\xff\x10\x04Too many"),
		"closes at once": servicetest.Says(""),
	}, map[string]servicetest.Strange{
		"is silent from the first": servicetest.Silences(server.admin.Host, 20),
		"is silent in the middle":  servicetest.Silences(server.admin.Host, 300),
	})
}

// small is the part of the suite that servicetest needs for faulty servers.
func (s *testServer) small() servicetest.Suite {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return servicetest.Suite{
		Definition: Definition(),
		Address:    s.admin.Host,
		Config:     s.config,
		Secrets:    []string{adminPassword},
		Plan:       raw(`{}`),
		OtherPlan:  raw(`{"connections_per_binding": 3}`),
		Create:     []json.RawMessage{raw(`{}`)},
		Bind:       []json.RawMessage{raw(`{}`)},
		Left:       s.leftOf,
	}
}

// The administrator can connect while applications hold all connections and ask for more.
func TestAdministratorGetsIntoAFullServer(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", func(i *instance) { i.Plan.ConnectionsPerBinding = 100 })
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd, credentials := bound(t, b, inst, "b", access.ReadWrite)
	fresh := server.backend(t)
	server.exec(t, "SET GLOBAL max_connections = 12")
	full := make(chan struct{})
	var isFull sync.Once
	stop := knock(ctx, credentials.Values, func() { isFull.Do(func() { close(full) }) })
	t.Cleanup(stop)
	select {
	case <-full:
	case <-ctx.Done():
		t.Fatal("the server has no limit")
	}
	if err := servicetest.Patient(fresh).Unbind(ctx, inst, bd); err != nil {
		t.Error(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	stop()
	// The server counts ended sessions for a moment.
	eventually(t, func() bool { return server.root.PingContext(ctx) == nil })
	server.exec(t, "SET GLOBAL max_connections = 100")
	server.nothingLeft(t)
}

// knock opens sessions, also when the server has no more connections, which full reports; the
// returned function ends all that.
func knock(ctx context.Context, credentials map[string]any, full func()) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var knocking sync.WaitGroup
	for range 3 {
		knocking.Go(func() {
			var sessions []services.Session
			for ctx.Err() == nil {
				s, err := mysqldb.Dial(ctx, credentials)
				if err == nil {
					sessions = append(sessions, s)
				} else if mysqldb.Is(err, mysqldb.TooManyConnections) {
					full()
				}
			}
			for _, s := range sessions {
				_ = s.Close()
			}
		})
	}
	return func() { cancel(); knocking.Wait() }
}

// A tenant that guesses lock names does not block the broker.
func TestTenantsLocksDoNotHoldTheBroker(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	_, credentials := bound(t, b, inst, "b", access.ReadWrite)
	s := dialled(t, credentials)
	name := b.names.database(inst.Name)
	s.must(t, "CREATE TABLE t (n INT PRIMARY KEY)", "LOCK TABLES t WRITE",
		"DO GET_LOCK('"+name+"', 0), GET_LOCK('chandler', 0), GET_LOCK('"+lockName(services.NewSecret(""), name)+"', 0)")
	other := dialled(t, credentials)
	other.must(t, "BEGIN")
	if _, err := servicetest.Once(b).Reconcile(ctx, []Plan{inst.Plan}, []instance{inst}); err != nil {
		t.Error(err)
	}
	bd, _ := bound(t, b, inst, "another", access.ReadOnly)
	if err := servicetest.Patient(b).Unbind(ctx, inst, bd); err != nil {
		t.Error(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}
