package postgres

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// small is the part of the suite that servicetest needs for faulty servers.
func (s *testServer) small(prefix string) servicetest.Suite {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return servicetest.Suite{
		Definition: Definition(),
		Address:    s.admin.Host,
		Config:     func(address string) json.RawMessage { return s.proxied(address, prefix) },
		Secrets:    []string{adminPassword},
		Plan:       raw(`{}`),
		OtherPlan:  raw(`{"connections": 20}`),
		Create:     []json.RawMessage{raw(`{}`)},
		Bind:       []json.RawMessage{raw(`{}`)},
		Left:       s.leftOf,
	}
}

// A server that accepts connections and sends nothing, and one that sends nonsense cause an
// error in time that is not reported as the user's.
func TestStrangeServers(t *testing.T) {
	servicetest.RunStrangeServers(t, newServer(t).small("strange"), map[string]servicetest.Strange{
		"hangs":         servicetest.Hangs,
		"talks HTTP":    servicetest.Says("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"says far more": servicetest.Says("R\x00" + strings.Repeat("\x7f", 1<<20)), // 8 MB, it says
		"says less":     servicetest.Says("R\x00\x00\x00\x03"),                     // than a message's length takes
		"says nonsense": servicetest.Says(letsIn + "T\x00\x00\x00\x06\x7f\xff"),    // an answer of 32767 columns in no bytes
		"says less and no more": func(c net.Conn) { // there the driver takes a ROLLBACK, and waits
			servicetest.Says(letsIn + "Z\x00\x00\x00\x03")(c)
			servicetest.Hangs(c)
		},
		"closes at once": servicetest.Says(""),
	}, nil)
}

// So does a server that starts to do so during a verb. It is a server of its own, because a
// session whose client does not read keeps the server from dropping any database meanwhile.
func TestServersThatBecomeStrange(t *testing.T) {
	t.Parallel()
	server := newServerAt(t, embeddedtest.PostgresOn(t, t.TempDir()).URL("postgres"))
	halfway := map[string]servicetest.Strange{
		"is silent from the first": servicetest.Silences(server.admin.Host, 10),
		"is silent in the middle":  servicetest.Silences(server.admin.Host, 700),
	}
	for _, after := range []int64{10, 500, 700, 1500} { // a session's greeting has about 400
		halfway[fmt.Sprintf("talks nonsense after %d bytes", after)] = servicetest.Garbles(server.admin.Host, after)
	}
	servicetest.RunStrangeServers(t, server.small("strange"), nil, halfway)
}

// letsIn is AuthenticationOk and ReadyForQuery (PostgreSQL documentation,
// "Message Formats").
const letsIn = "R\x00\x00\x00\x08\x00\x00\x00\x00" + "Z\x00\x00\x00\x05I"

// The server is restarted while the backend and applications are connected.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	postgres, ctx := embeddedtest.PostgresOn(t, t.TempDir()), testContext(t)
	server := newServerAt(t, postgres.URL("postgres"))
	b := server.backend(t, "restarts")
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd := newBinding(t, inst, "b", access.ReadWrite)
	credentials, err := servicetest.Once(b).Bind(ctx, inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	dialled(t, credentials).must(t, "CREATE TABLE t (n int)")
	for name, end := range map[string]func(){"restart": func() {}, "kill -9": postgres.Kill} {
		end()
		if err := postgres.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		again, err := servicetest.Once(b).Bind(ctx, inst, bd)
		if err != nil || again.Values["password"] != credentials.Values["password"] {
			t.Errorf("%s: bind: %v", name, err)
		}
		if err := b.Ready(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		dialled(t, credentials).must(t, "INSERT INTO t VALUES (1)")
	}
	server.removed(t, b, "restarts", inst, bd)
}

// The administrator can connect while applications hold all connections, if the server can
// reserve some; otherwise the error says what to do.
func TestAdministratorGetsIntoAFullServer(t *testing.T) {
	t.Parallel()
	postgres, ctx := embeddedtest.PostgresOn(t, t.TempDir()), testContext(t)
	server := newServerAt(t, postgres.URL("postgres"))
	server.exec(t, "ALTER SYSTEM SET superuser_reserved_connections = 170")
	holdsBack := server.version >= 160000
	if holdsBack {
		server.exec(t, "ALTER SYSTEM SET reserved_connections = 10")
	}
	if err := postgres.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	b := server.backend(t, "full")
	inst := newInstance("i", func(i *instance) { i.Plan.Connections = 100 })
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd := newBinding(t, inst, "b", access.ReadWrite)
	credentials, err := servicetest.Once(b).Bind(ctx, inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	fresh := server.backend(t, "full")
	var sessions []services.Session
	for full := false; !full; {
		s, err := dial(ctx, credentials.Values)
		if full = is(err, pqerror.TooManyConnections); err == nil {
			sessions = append(sessions, s)
		} else if !full || len(sessions) == 0 {
			t.Fatal(err)
		}
	}
	if err := servicetest.Patient(fresh).Unbind(ctx, inst, bd); !holdsBack {
		expect(t, err, "let its reserved_connections keep some back")
	} else if err != nil {
		t.Error(err)
	}
	for _, s := range sessions {
		_ = s.Close()
	}
	server.removed(t, b, "full", inst, bd)
}
