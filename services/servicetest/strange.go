package servicetest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// strangeTime is a verb's time limit on a strange server; one that hangs uses all of it.
const strangeTime = 500 * time.Millisecond

// Strange is how a server treats a connection.
type Strange func(net.Conn)

// Hangs accepts connections and sends nothing, until the client closes them.
func Hangs(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// Says sends the same text to every client, and closes the connection.
func Says(text string) Strange { return func(c net.Conn) { _, _ = io.WriteString(c, text) } }

// Garbles forwards to the server at address; after so many bytes on a connection it sends
// nonsense.
func Garbles(address string, after int64) Strange {
	return changing(address, after, func(c net.Conn, _ <-chan struct{}) {
		_, _ = io.WriteString(c, "\x00\xff}{ this is nonsense \xfe\x00")
	})
}

// Silences forwards to the server at address; after so many bytes on a connection it sends
// nothing more, and does not close the connection.
func Silences(address string, after int64) Strange {
	return changing(address, after, func(_ net.Conn, gone <-chan struct{}) { <-gone })
}

// changing forwards to the server at address; after so many bytes on a connection it calls
// a function, which may wait until the client has disconnected.
func changing(address string, after int64, then func(c net.Conn, gone <-chan struct{})) Strange {
	return func(c net.Conn) {
		server, err := net.Dial("tcp", address) //nolint:noctx // it ends with the connection
		if err != nil {
			return
		}
		defer server.Close()
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = io.Copy(server, c)
			_ = server.Close() // a session of a client that has gone can keep the server from work
		}()
		_, _ = io.CopyN(c, server, after)
		then(c, gone)
	}
}

// RunStrangeServers calls every verb on strange servers: each must end in time, must not
// report the fault as the user's error, and must leave a state that can be removed. It
// needs the same fields of the suite as RunFullDisk. Sane are the servers on which a verb
// may succeed.
func RunStrangeServers(t *testing.T, s Suite, strange, sane map[string]Strange) {
	t.Helper()
	h := newHarness(t, s, s.Address)
	for name, behave := range strange {
		t.Run(name, func(t *testing.T) { h.onStrangeServer(t, behave, false) })
	}
	for name, behave := range sane {
		t.Run(name, func(t *testing.T) { h.onStrangeServer(t, behave, true) })
	}
}

func (h *harness) onStrangeServer(t *testing.T, behave Strange, mayWork bool) {
	t.Helper()
	r := h.provisioned(t)
	b, _ := h.bound(t, r, h.Bind[0])
	fresh := h.instance(t, freshID(t), h.Plan, h.Create[0])
	away := newHarness(t, h.Suite, Listen(t, behave))
	var all sync.WaitGroup
	for _, v := range away.verbs(targets{fresh.raw, r.raw, r.raw, b, b}) {
		all.Go(func() { h.strangely(t, v, b, mayWork) })
		if mayWork { // one at a time, as the contract has it
			all.Wait()
		}
	}
	all.Wait()
	h.empty(t, fresh, r)
}

// strangely calls a verb on a strange server and checks the result.
func (h *harness) strangely(t *testing.T, v *verb, b services.RawBinding, mayWork bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), strangeTime)
	defer cancel()
	began := time.Now()
	err := h.callOnce(t, ctx, v.call)
	if took := time.Since(began); took > strangeTime+callTimeout/2 {
		t.Errorf("%s took %s of %s", v.name, took, strangeTime)
	}
	if err == nil && !mayWork {
		t.Errorf("%s succeeded", v.name)
	}
	notBlamed(t, v.name, err)
	concealed(t, b, err)
}

// Listen starts a strange server and returns its address.
func Listen(t *testing.T, behave Strange) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // as Proxy
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
			go func() {
				behave(conn)
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr().String()
}
