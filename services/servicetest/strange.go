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

// strangeTime is what a verb has on a strange server: one that hangs takes all.
const strangeTime = 500 * time.Millisecond

// Strange is a server that behaves so to each who connects.
type Strange func(net.Conn)

// Hangs takes connections and says nothing, until the other side has enough.
func Hangs(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// Says sends the same to everybody, and closes the connection.
func Says(text string) Strange { return func(c net.Conn) { _, _ = io.WriteString(c, text) } }

// Garbles is the server at address until it has sent so many bytes on a
// connection; then it is nonsense.
func Garbles(address string, after int64) Strange {
	return turning(address, after, func(c net.Conn, _ <-chan struct{}) {
		_, _ = io.WriteString(c, "\x00\xff}{ this is no answer \xfe\x00")
	})
}

// Silences is the server at address until it has sent so many bytes on a
// connection; then it says nothing more, and does not hang up.
func Silences(address string, after int64) Strange {
	return turning(address, after, func(_ net.Conn, gone <-chan struct{}) { <-gone })
}

// turning is the server at address until it has sent so many bytes on a connection;
// what happens then may wait until the other side has gone.
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

// RunStrangeServers calls every verb on servers that are strange: each ends in
// time, blames nobody for it, and leaves what can be removed. Of the suite it
// needs what RunFullDisk does. Sane are those that may answer well enough for a
// verb to work.
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

// strangely calls a verb on a strange server.
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
	if message, rejected := services.IsRejected(err); rejected {
		t.Errorf("%s: the user is told that it is his fault: %s", v.name, message)
	}
	if bd.Seed.Scrub(err.Error()) != err.Error() {
		t.Errorf("an error holds a secret of the binding: %s", bd.Seed.Scrub(err.Error()))
	}
}

// listening is the address of a server that behaves so.
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
