package trove

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// provisioned makes an instance that is deleted at the end of t.
func provisioned(t testing.TB, b *backend, change func(*instance)) instance {
	t.Helper()
	inst := newInstance(t, "i")
	if change != nil {
		change(&inst)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), callBudget)
		defer cancel()
		if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
			t.Errorf("deprovision: %v", err)
		}
	})
	if err := servicetest.Patient(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	return inst
}

func bound(t testing.TB, b *backend, inst instance, id string) (binding, services.Credentials) {
	t.Helper()
	bd := newBinding(t, inst, id)
	c, err := servicetest.Patient(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	return bd, c
}

func unbound(t testing.TB, b *backend, inst instance, bd binding) {
	t.Helper()
	bd.Seed = nil // as the engine calls it
	if err := servicetest.Patient(b).Unbind(testContext(t), inst, bd); err != nil {
		t.Fatal(err)
	}
}

func refusedLogin(t testing.TB, c services.Credentials) {
	t.Helper()
	if _, err := dial(t, c); !mysqldb.Is(err, mysqldb.DeniedLogin) {
		t.Errorf("the revoked credentials: %v", err)
	}
}

// What needs any server is tested on one.
func TestOneServer(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	b := cloud.backend(t, nil)
	inst := provisioned(t, b, nil)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *testCloud, *backend, instance)
	}{
		{"sessions end", testSessionsEnd}, {"definers stay", testDefinersStay}, {"held logins", testHeldLogins},
		{"similar bindings", testSimilarBindings}, {"a broker outside of the network", testBrokerOutside},
		{"a stale fault", testStaleFault}, {"many users", testManyUsers}, {"strange answers", testStrangeAnswers}, {"a slow agent", testSlowAgent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, cloud, b, inst) })
	}
}

// Whatever the sessions of a binding do, they end with it, and those of others go on.
func testSessionsEnd(t *testing.T, cloud *testCloud, b *backend, inst instance) {
	_, other := bound(t, b, inst, "other")
	bystander := dialled(t, other)
	bystander.must(t, "CREATE TABLE s (n INT PRIMARY KEY)", "INSERT INTO s VALUES (1), (2)")
	for name, hold := range map[string][]string{
		"nothing":                     {},
		"an open transaction":         {"BEGIN", "UPDATE s SET n = n + 10"},
		"a lock of a table":           {"LOCK TABLES s WRITE"},
		"a lock of a name":            {"DO GET_LOCK('a', 0)"},
		"a transaction of two phases": {"XA START 'x'", "INSERT INTO s VALUES (100)", "XA END 'x'"},
		"a handler":                   {"HANDLER s OPEN", "HANDLER s READ FIRST"},
		"another database":            {"USE information_schema"},
	} {
		t.Run(name, func(t *testing.T) {
			bd, credentials := bound(t, b, inst, name)
			holders := []*client{dialled(t, credentials), dialled(t, credentials)}
			for _, statement := range hold {
				_ = holders[0].run(t, statement) // some kinds of server refuse some
			}
			unbound(t, b, inst, bd)
			for i, h := range holders {
				if h.run(t, "SELECT 1") == nil {
					t.Errorf("session %d goes on", i)
				}
			}
			refusedLogin(t, credentials)
			if err := bystander.run(t, "INSERT INTO s VALUES (3)", "DELETE FROM s WHERE n = 3"); err != nil {
				t.Errorf("another binding's session: %v", err)
			}
		})
	}
	t.Run("a statement that runs", func(t *testing.T) {
		bd, credentials := bound(t, b, inst, "busy")
		s := dialled(t, credentials)
		ended := make(chan error, 1)
		go func() {
			_, err := s.Conn.ExecContext(context.Background(), "DO SLEEP(60)")
			ended <- err
		}()
		unbound(t, b, inst, bd)
		select {
		case err := <-ended:
			if err == nil {
				t.Error("the statement was not interrupted")
			}
		case <-testContext(t).Done():
			t.Error("the statement goes on")
		}
	})
}

// full opens sessions until the server has no more.
func full(t *testing.T, c services.Credentials) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var knocking sync.WaitGroup
	reached := make(chan struct{})
	var once sync.Once
	for range 4 {
		knocking.Go(func() {
			var sessions []services.Session
			for ctx.Err() == nil {
				s, err := mysqldb.Dial(ctx, c.Values)
				if err == nil {
					sessions = append(sessions, s)
				} else if mysqldb.Is(err, mysqldb.TooManyConnections) {
					once.Do(func() { close(reached) })
				}
				if isClosed(reached) { // else the logins take turns with Trove's
					break
				}
			}
			<-ctx.Done()
			for _, s := range sessions {
				_ = s.Close()
			}
		})
	}
	t.Cleanup(func() { cancel(); knocking.Wait() })
	select {
	case <-reached:
	case <-testContext(t).Done():
		t.Fatal("the server has no limit of connections")
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A binding's holder who takes all of the server's connections, or another's, does not prevent the
// unbind.
func TestFullServer(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	b := cloud.backend(t, func(c *Config) { c.Prefix = "full" }) // Trove may not know the users of a full server
	for name, own := range map[string]bool{"the binding's own": true, "another binding's": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inst := provisioned(t, b, nil)
			bd, credentials := bound(t, b, inst, "1")
			_, other := bound(t, b, inst, "2")
			session := dialled(t, credentials)
			session.must(t, "CREATE TABLE t (n INT)", "INSERT INTO t VALUES (7)")
			if own {
				full(t, credentials)
			} else {
				full(t, other)
			}
			bd.Seed = nil
			attempts := 1
			for end := time.Now().Add(callBudget); ; attempts++ {
				err := servicetest.Patient(b).Unbind(testContext(t), inst, bd)
				if err == nil {
					break
				}
				if _, rejected := services.IsRejected(err); rejected || time.Now().After(end) {
					t.Fatalf("attempt %d: %v", attempts, err)
				}
			}
			t.Logf("%d attempts", attempts)
			if session.run(t, "SELECT 1") == nil {
				t.Error("the session goes on")
			}
			if own {
				refusedLogin(t, credentials)
				if n := dialled(t, other).ask(t, "SELECT n FROM t"); n != "7" {
					t.Errorf("the data: %s", n)
				}
			}
		})
	}
}

// Where the operator says so, the broker does not connect to servers.
func testBrokerOutside(t *testing.T, cloud *testCloud, b *backend, inst instance) {
	for _, sessions := range []string{sessionsRestart, sessionsLeave} {
		t.Run(sessions, func(t *testing.T) {
			outside := cloud.backend(t, func(c *Config) { c.Sessions = sessions })
			bd, credentials := bound(t, outside, inst, sessions)
			dialled(t, credentials).must(t, "SET PASSWORD = PASSWORD('mine')")
			if err := servicetest.Once(outside).Verify(testContext(t), inst, bd); err != nil {
				t.Fatal(err)
			}
			s := dialled(t, credentials)
			unbound(t, outside, inst, bd)
			if err := s.run(t, "SELECT 1"); (err == nil) != (sessions == sessionsLeave) {
				t.Errorf("the session: %v", err)
			}
			refusedLogin(t, credentials)
		})
	}
	t.Run("unreachable", func(t *testing.T) {
		outside := cloud.backend(t, func(c *Config) { c.Port = 1 })
		bd, _ := bound(t, b, inst, "unreachable")
		err := servicetest.Patient(outside).Unbind(testContext(t), inst, bd)
		if err == nil || !strings.Contains(err.Error(), `sessions be "restart" or "leave"`) {
			t.Errorf("%v", err)
		}
		unbound(t, b, inst, bd)
	})
}

// Views, routines and triggers run with the rights of the user that defined them. They work after
// its binding is gone, and nobody can log in as the user or keep a session of it.
func testDefinersStay(t *testing.T, cloud *testCloud, b *backend, inst instance) {
	bd, credentials := bound(t, b, inst, "definer")
	_, other := bound(t, b, inst, "other")
	s := dialled(t, credentials)
	s.must(t, "CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1)", "CREATE VIEW v AS SELECT n FROM t",
		"CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + 1")
	for _, what := range []string{"unbind", "unbind again"} {
		unbound(t, b, inst, bd)
		if s.run(t, "SELECT 1") == nil {
			t.Errorf("%s: the session goes on", what)
		}
		refusedLogin(t, credentials)
		reader := dialled(t, other)
		reader.must(t, "INSERT INTO t VALUES (5)")
		if n := reader.ask(t, "SELECT MAX(n) FROM v"); n != "6" {
			t.Errorf("%s: %s", what, n)
		}
	}
	again, err := servicetest.Patient(b).Bind(testContext(t), inst, newBinding(t, inst, "definer"))
	if err != nil {
		t.Fatal(err)
	}
	refusedLogin(t, credentials)
	dialled(t, again).must(t, "DROP VIEW v", "DROP TRIGGER g")
	unbound(t, b, inst, bd)
	refusedLogin(t, again)
	at, server := lookup(t, b, inst)
	if _, found, err := at.account(server, bd.Name).owner(testContext(t)); found || err != nil {
		t.Errorf("the user without definitions stays: %v", err)
	}
}

// A binding does not take the user of another whose name begins alike.
func testSimilarBindings(t *testing.T, cloud *testCloud, b *backend, inst instance) {
	mine, credentials := bound(t, b, inst, "mine")
	similar := newBinding(t, inst, "similar")
	similar.Name = mine.Name[:maxUserName] + similar.Name[maxUserName:]
	_, err := servicetest.Patient(b).Bind(testContext(t), inst, similar)
	if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, "another ID") {
		t.Errorf("%v", err)
	}
	if err := servicetest.Patient(b).Verify(testContext(t), inst, similar); err != nil {
		t.Error(err)
	}
	unbound(t, b, inst, similar)
	dialled(t, credentials)
}
