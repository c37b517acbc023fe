package openwhisk

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// slowLink passes connections on to a server, late while it holds back what the
// client sent: also what was sent by a client that has given up since.
type slowLink struct {
	listener net.Listener
	target   string

	serving sync.WaitGroup

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
			l.serving.Go(func() { l.serve(client) })
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
	answered := make(chan struct{})
	go func() { _, _ = io.Copy(client, server); close(answered) }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		l.mu.Lock()
		flow := l.flow
		l.mu.Unlock()
		<-flow
		if _, writeErr := server.Write(buffer[:n]); err != nil || writeErr != nil {
			_ = server.(*net.TCPConn).CloseWrite()
			<-answered
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
	server := newServer(t)
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
			link := newSlowLink(t, server.address(t))
			late := server.openAt(t, link.listener.Addr().String())
			// Everything was done once, so that each call is as short as it gets.
			if err := servicetest.Once(late).Provision(t.Context(), inst); err != nil {
				t.Fatal(err)
			}
			if _, err := servicetest.Once(late).Bind(t.Context(), inst, testBinding(t, "first "+test.name)); err != nil {
				t.Fatal(err)
			}
			link.hold()
			impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := test.late(impatient, late); err == nil {
				t.Fatal("nothing was held back")
			}
			if err := test.undo(t.Context(), server.open(t)); err != nil {
				t.Fatal(err)
			}
			link.release()
			_ = late.Close()
			link.serving.Wait() // the runtime has got all of it, and answered
			conn, err := pgx.Connect(t.Context(), server.database)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			var n int
			if err := conn.QueryRow(t.Context(), test.count, test.left).Scan(&n); err != nil || n != 0 {
				t.Errorf("what was given up has taken effect after all: %d, %v", n, err)
			}
		})
	}
}
