package servicetest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
)

// Proxy stands between a client, such as a backend, and its server. It can fail like a
// network, or cut the connections at any outside call, as if the client's process had died
// there. It knows no protocol: a call begins with the first bytes that the client sends
// after an answer of the server. Its methods are safe for concurrent use.
type Proxy struct {
	listener net.Listener
	target   string
	wait     sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond // a link ended, or Thaw
	links   map[*link]bool
	counts  func(call []byte) bool // nil: all
	calls   int                    // since Arm
	at      int                    // the call to cut at; 0: none
	when    Moment
	alone   bool // cut only the connection of that call
	frozen  bool
	stopped bool
}

// Moment is the moment of a call at which the proxy cuts.
type Moment string

// The moments of a call.
const (
	// Before: the server has not received the call.
	Before Moment = "before"
	// After: the server has answered, and the client has not received the answer.
	After Moment = "after"
)

// link is a connection through the proxy.
type link struct {
	client, server *net.TCPConn
	asking         bool // the client spoke last
	swallow        bool // the answer is where to cut
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// NewProxy starts a proxy in front of the server at target, until the end of t.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := StartProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// StartProxy starts a proxy in front of the server at target, until Close.
func StartProxy(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a proxy: %w", err)
	}
	p := &Proxy{listener: listener, target: target, links: map[*link]bool{}}
	p.changed.L = &p.mu
	p.wait.Go(p.accept)
	return p, nil
}

// Address returns the proxy's address.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Count makes the proxy count, and so cut, only the calls that a function selects. It gets what the
// client sent first of the call.
func (p *Proxy) Count(selects func(call []byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts = selects
}

// Arm makes the proxy stop at the n-th call from now on; 0: never.
func (p *Proxy) Arm(n int, when Moment) { p.arm(n, when, false) }

// ArmConnection makes the proxy cut only the connection of the n-th call from now on.
func (p *Proxy) ArmConnection(n int, when Moment) { p.arm(n, when, true) }

func (p *Proxy) arm(n int, when Moment, alone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls, p.at, p.when, p.alone = 0, n, when, alone
	for l := range p.links {
		l.swallow = false // a call that was to be cut, and whose answer did not come in time
	}
}

// fail cuts at a call on l.
func (p *Proxy) fail(l *link) {
	if p.alone {
		l.close()
	} else {
		p.stop()
	}
}

// Stopped reports whether the proxy has stopped.
func (p *Proxy) Stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

// Calls returns the number of calls since Arm.
func (p *Proxy) Calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// Freeze lets all connections hang, new ones too: the proxy forwards nothing and closes
// nothing.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Thaw ends Freeze. The proxy forwards what it has received, even from clients that are
// gone.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	p.changed.Broadcast()
}

// Drain waits until all connections have ended.
func (p *Proxy) Drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.links) > 0 {
		p.changed.Wait()
	}
}

// Cut closes all connections. The proxy accepts new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Proxy) cut() {
	for l := range p.links {
		l.close()
	}
}

// Stop closes all connections, and new ones at once.
func (p *Proxy) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop()
}

func (p *Proxy) stop() {
	p.stopped = true
	p.cut()
}

// Close ends the proxy and all connections.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.Stop()
	p.Thaw()
	p.wait.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wait.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	l := &link{client: client.(*net.TCPConn), server: server.(*net.TCPConn)}
	defer l.close()
	p.mu.Lock()
	p.links[l] = true
	if p.stopped {
		l.close()
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.forward(l.client, l.server, func(sent []byte) bool { return p.asks(l, sent) }) })
	both.Go(func() { p.forward(l.server, l.client, func([]byte) bool { return p.answers(l) }) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	p.changed.Broadcast()
}

// forward copies data from one side to the other while allowed returns true.
func (p *Proxy) forward(from, to *net.TCPConn, allowed func(data []byte) bool) {
	defer func() { _ = to.CloseWrite() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.awaitThaw()
		if n > 0 {
			if !allowed(buffer[:n]) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) awaitThaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.frozen {
		p.changed.Wait()
	}
}

// asks records that the client sent data.
func (p *Proxy) asks(l *link, sent []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || l.asking {
		return !p.stopped
	}
	l.asking = true
	if p.counts != nil && !p.counts(sent) {
		return true
	}
	p.calls++
	if p.calls != p.at {
		return true
	}
	if p.when == Before {
		p.fail(l)
		return false
	}
	l.swallow = true
	return true
}

// answers records that the server sent data.
func (p *Proxy) answers(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.asking = false
	if l.swallow {
		p.fail(l)
	}
	return !p.stopped && !l.swallow
}
