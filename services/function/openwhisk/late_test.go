package openwhisk

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// slowLink passes connections on to a server, late while it holds back what the
// client sent: also what was sent by a client that has given up since.
type slowLink struct {
	listener net.Listener
	target   string

	mu   sync.Mutex
	flow chan struct{} // closed while bytes flow
}

func newSlowLink(t *testing.T, target string) *slowLink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &slowLink{listener: listener, target: target, flow: make(chan struct{})}
	close(l.flow)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go l.serve(client)
		}
	}()
	return l
}

func (l *slowLink) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(client, server) }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		l.mu.Lock()
		flow := l.flow
		l.mu.Unlock()
		<-flow
		if _, writeErr := server.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func (l *slowLink) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flow = make(chan struct{})
}

func (l *slowLink) release() { close(l.flow) }

// What a call has sent that was given up must not take effect once a later call
// has returned that undoes it: the link may deliver it any time after.
func TestLateRequests(t *testing.T) {
	inst := testInstance(t, `{}`)
	other := instance{ID: "late", Name: services.InstanceName("late"), Plan: inst.Plan}
	bd := testBinding(t, "late")
	for _, test := range []struct {
		name        string
		late, undo  func(context.Context, *backend) error
		count, left string
	}{
		{"provision",
			func(ctx context.Context, b *backend) error { return servicetest.Once(b).Provision(ctx, other) },
			func(ctx context.Context, b *backend) error { return servicetest.Once(b).Deprovision(ctx, other) },
			"select count(*) from functions.namespaces where name = $1", other.Name},
		{"bind",
			func(ctx context.Context, b *backend) error {
				_, err := servicetest.Once(b).Bind(ctx, inst, bd)
				return err
			},
			func(ctx context.Context, b *backend) error { return servicetest.Once(b).Unbind(ctx, inst, bd) },
			"select count(*) from functions.keys where binding = $1", bd.Name},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			database := embeddedtest.Database(t)
			link, late := lateBackend(t, database, inst)
			link.hold()
			impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := test.late(impatient, late); err == nil {
				t.Fatal("nothing was held back")
			}
			straight := openBackend(t, database)
			if err := test.undo(t.Context(), straight); err != nil {
				t.Fatal(err)
			}
			link.release()
			if n := afterwards(t, database, late, straight, test.count, test.left); n != 0 {
				t.Error("what was given up has taken effect after all")
			}
		})
	}
}

func testBinding(t *testing.T, id string) binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	return binding{ID: id, Name: services.BindingName("i", id), Seed: seed, Params: BindingParams{Role: state.ReadWrite}}
}

func openBackend(t *testing.T, database string) *backend {
	t.Helper()
	b, err := open(t.Context(), Config{DatabaseURL: services.NewSecret(database), APIHost: "http://127.0.0.1:3233"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// lateBackend has done everything once, so that each call is as short as it gets.
func lateBackend(t *testing.T, database string, inst instance) (*slowLink, *backend) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	link := newSlowLink(t, u.Host)
	u.Host = link.listener.Addr().String()
	b := openBackend(t, u.String())
	if err := servicetest.Once(b).Provision(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	if _, err := servicetest.Once(b).Bind(t.Context(), inst, testBinding(t, "first")); err != nil {
		t.Fatal(err)
	}
	return link, b
}

// afterwards closes the backends and counts when the server has done all that it
// was sent.
func afterwards(t *testing.T, database string, late, straight *backend, query, name string) (n int) {
	t.Helper()
	for _, b := range []*backend{late, straight} {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	eventually(t, "the server ends the sessions", func() bool {
		var sessions int
		err := conn.QueryRow(t.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`).Scan(&sessions)
		return err == nil && sessions == 0
	})
	if err := conn.QueryRow(t.Context(), query, name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
