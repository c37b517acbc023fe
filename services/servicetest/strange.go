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
	return turning(address, after, func(c net.Conn, _ <-chan struct{}) {
		_, _ = io.WriteString(c, "\x00\xff}{ this is no answer \xfe\x00")
	})
}

// Silences forwards to the server at address; after so many bytes on a connection it sends
// nothing more, and does not close the connection.
func Silences(address string, after int64) Strange {
	return turning(address, after, func(_ net.Conn, gone <-chan struct{}) { <-gone })
}

// turning forwards to the server at address; after so many bytes on a connection it calls
// a function, which may wait until the client has gone.
func turning(address string, after int64, then func(c net.Conn, gone <-chan struct{})) Strange {
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
	bd, _ := h.bound(t, r, h.Bind[0])
	fresh := h.instance(t, freshID(t), h.Plan, h.Create[0])
	next := r.raw
	next.Plan = h.driver.Plan(h.OtherPlan)
	away := newHarness(t, h.Suite, listening(t, behave)).driver
	var all sync.WaitGroup
	for _, v := range []*verb{
		{name: "ready", call: away.Ready},
		{name: "provision", call: func(ctx context.Context) error { return away.Provision(ctx, fresh.raw) }},
		{name: "bind", call: func(ctx context.Context) error { _, err := away.Bind(ctx, r.raw, bd); return err }},
		{name: "update", call: func(ctx context.Context) error { return away.Update(ctx, r.raw, next) }},
		{name: "unbind", call: func(ctx context.Context) error { return away.Unbind(ctx, r.raw, services.RawBinding{ID: bd.ID}) }},
		{name: "deprovision", call: func(ctx context.Context) error { return away.Deprovision(ctx, r.raw) }},
	} {
		all.Go(func() { h.strangely(t, v, bd, mayWork) })
		if mayWork { // one at a time, as the contract has it
			all.Wait()
		}
	}
	all.Wait()
	h.empty(t, fresh, r)
}

// strangely calls a verb on a strange server and checks the result.
func (h *harness) strangely(t *testing.T, v *verb, bd services.RawBinding, mayWork bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), strangeTime)
	defer cancel()
	began := time.Now()
	err := h.callOnce(t, ctx, v.call)
	if took := time.Since(began); took > strangeTime+callTimeout/2 {
		t.Errorf("%s took %s of %s", v.name, took, strangeTime)
	}
	if err == nil {
		if !mayWork {
			t.Errorf("%s succeeded", v.name)
		}
		return
	}
	notBlamed(t, v.name, err)
	concealed(t, bd, err)
}

// listening starts a strange server and returns its address.
func listening(t *testing.T, behave Strange) string {
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
