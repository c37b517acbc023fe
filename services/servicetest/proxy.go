package servicetest

import (
	"net"
	"sync"
	"testing"
)

// Proxy stands between a backend and its server. It can cut their connections at any
// outside call, as if the backend's process had died there. It knows no protocol: a call
// begins with the first bytes that the backend sends after an answer of the server.
type Proxy struct {
	listener net.Listener
	target   string
	wait     sync.WaitGroup

	mu    sync.Mutex
	links map[*link]bool
	calls int // since Arm
	at    int // the call to cut at; 0: none
	when  Moment
	dead  bool
}

// Moment is the moment of a call at which the proxy cuts.
type Moment string

// The moments of a call.
const (
	// Before: the server has not received the call.
	Before Moment = "before"
	// After: the server has answered, and the backend has not received the answer.
	After Moment = "after"
)

// link is a connection through the proxy.
type link struct {
	backend, server net.Conn
	asking          bool // the backend spoke last
	swallow         bool // the answer is where to cut
}

// NewProxy starts a proxy in front of the server at target, until the end of t.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p := &Proxy{listener: listener, target: target, links: map[*link]bool{}}
	p.wait.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.Cut()
		p.wait.Wait()
	})
	return p
}

// Address returns the proxy's address.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Arm makes the proxy cut at the n-th call from now on.
func (p *Proxy) Arm(n int, when Moment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls, p.at, p.when = 0, n, when
}

// WasCut reports whether the proxy has cut; afterwards it passes nothing on.
func (p *Proxy) WasCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// Calls returns the number of calls since Arm.
func (p *Proxy) Calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// Cut closes all connections and accepts no more.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Proxy) cut() {
	p.dead = true
	for l := range p.links {
		l.close()
	}
}

func (l *link) close() {
	_ = l.backend.Close()
	_ = l.server.Close()
}

func (p *Proxy) accept() {
	for {
		backend, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wait.Go(func() { p.serve(backend) })
	}
}

func (p *Proxy) serve(backend net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = backend.Close()
		return
	}
	l := &link{backend: backend, server: server}
	p.mu.Lock()
	p.links[l] = true
	if p.dead {
		l.close()
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(l, backend, server, p.asks) })
	both.Go(func() { p.pass(l, server, backend, p.answers) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pass copies the data of from while allowed returns true.
func (p *Proxy) pass(l *link, from, to net.Conn, allowed func(*link) bool) {
	defer l.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !allowed(l) {
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

// asks records that the backend sent data.
func (p *Proxy) asks(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return false
	}
	if l.asking {
		return true
	}
	l.asking = true
	p.calls++
	if p.calls != p.at {
		return true
	}
	if p.when == Before {
		p.cut()
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
		p.cut()
	}
	return !p.dead
}
