package mysql

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// The server is restarted while the backend and applications are at work.
func TestServerRestarts(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := b.Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd, credentials := bound(t, b, inst, "b", readWrite)
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
		if again, err := b.Bind(ctx, inst, bd); err != nil || again.Values["password"] != credentials.Values["password"] {
			t.Errorf("%s: bind: %v", name, err)
		}
		dialled(t, credentials).must(t, "INSERT INTO t VALUES (1)")
	}
	if err := b.Unbind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	if err := b.Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}

// A server that takes connections and says nothing, and one that talks
// nonsense, end in an error in time; nobody but the operator can mend it.
func TestStrangeServers(t *testing.T) {
	for name, behave := range map[string]func(net.Conn){
		"hangs":      func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, // until the other side has enough
		"talks HTTP": func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
		"says goodbye": func(c net.Conn) {
			_, _ = c.Write([]byte{0x17, 0, 0, 0, 0xff, 0x10, 0x04, 'T', 'o', 'o', ' ', 'm', 'a', 'n', 'y'})
		},
		"closes at once": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := backendAt(t, listening(t, behave))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := b.Provision(ctx, newInstance("i", nil))
			if err == nil {
				t.Error("provision succeeded")
			}
			if message, rejected := services.IsRejected(err); rejected {
				t.Errorf("the user is told: %s", message)
			}
		})
	}
}

// listening is the address of a server that behaves so to each who connects.
func listening(t *testing.T, behave func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { behave(conn); _ = conn.Close() }()
		}
	}()
	return listener.Addr().String()
}

func backendAt(t *testing.T, address string) *backend {
	t.Helper()
	config, err := services.Decode[Config](json.RawMessage(`{"url": "mysql://a:b@` + address + `/chandler"}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// Whoever holds every connection of the server does not keep the administrator
// out.
func TestAdministratorGetsInPastTheLimit(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", func(i *instance) { i.Plan.ConnectionsPerBinding = 100 })
	if err := b.Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd, credentials := bound(t, b, inst, "b", readWrite)
	fresh := server.backend(t)
	server.exec(t, "SET GLOBAL max_connections = 12")
	in := 0
	for range 20 {
		s, err := dial(ctx, credentials.Values)
		if err != nil {
			break
		}
		in++
		t.Cleanup(func() { _ = s.Close() })
	}
	if in == 20 {
		t.Fatal("the server has no limit")
	}
	if err := fresh.Unbind(ctx, inst, bd); err != nil {
		t.Error(err)
	}
	if err := b.Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	// The sessions that were cut count until the server has cleared them away.
	eventually(t, func() bool { return server.root.PingContext(ctx) == nil })
	server.nothingLeft(t)
}

// A tenant who guesses at lock names does not hold the broker up.
func TestTenantsLocksDoNotHoldTheBroker(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := b.Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	_, credentials := bound(t, b, inst, "b", readWrite)
	s := dialled(t, credentials)
	name := b.names.database(inst.Name)
	s.must(t, "CREATE TABLE t (n INT PRIMARY KEY)", "LOCK TABLES t WRITE",
		"DO GET_LOCK('"+name+"', 0), GET_LOCK('chandler', 0), GET_LOCK('"+lockName(services.NewSecret(""), name)+"', 0)")
	other := dialled(t, credentials)
	other.must(t, "BEGIN")
	if _, err := b.Keep(ctx, []Plan{inst.Plan}, []instance{inst}); err != nil {
		t.Error(err)
	}
	bd, _ := bound(t, b, inst, "another", readOnly)
	if err := b.Unbind(ctx, inst, bd); err != nil {
		t.Error(err)
	}
	if err := b.Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}
