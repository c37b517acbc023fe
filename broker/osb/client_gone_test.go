package osb

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// The end of a connection is seen although nobody has read what came before it.
func TestClientGoneBeforeItsRequestIsRead(t *testing.T) {
	certificates := httptest.NewTLSServer(nil)
	defer certificates.Close()
	for name, wrap := range map[string]func(server, client net.Conn) (net.Conn, net.Conn){
		"TCP": func(server, client net.Conn) (net.Conn, net.Conn) { return server, client },
		"TLS": func(server, client net.Conn) (net.Conn, net.Conn) {
			return tls.Server(server, certificates.TLS), tls.Client(client, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // not what is tested
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := wrap(connectionPair(t))
			if _, secure := server.(*tls.Conn); secure {
				go func() { _, _ = server.Read(make([]byte, 1)) }() // shakes hands
			}
			if _, err := io.WriteString(client, "PUT / HTTP/1.1\r\n"); err != nil {
				t.Fatal(err)
			}
			ctx := withConnection(t.Context(), server)
			if isClientGone(ctx) {
				t.Error("a client that waits is gone")
			}
			if err := client.Close(); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(10 * time.Second); !isClientGone(ctx); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("a client that closed its connection is not gone")
				}
			}
		})
	}
}

func connectionPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return server, client
}

func TestClientGoneWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if isClientGone(ctx) {
		t.Error("a request without a connection is gone")
	}
	if cancel(); !isClientGone(ctx) {
		t.Error("a cancelled request is not gone")
	}
}
