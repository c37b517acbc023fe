package servicetest

import (
	"net"
	"sync"
	"testing"
)

// Proxy stands between a backend and its server and can cut them off from each
// other at any outside call, as if the backend's process had ended there. It
// knows no protocol: a call begins with the first bytes that the backend sends
// on a connection after the server's.
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

// Moment is where in a call the proxy cuts.
type Moment string

// The moments of a call.
const (
	// Before is when the server has not got the call.
	Before Moment = "before"
	// After is when the server has answered, and the backend does not know.
	After Moment = "after"
)

// link is one connection through the proxy.
type link struct {
	backend, server net.Conn
	asking          bool // the backend spoke last
	swallow         bool // the answer is where to cut
}

// NewProxy listens on a port of its own in front of the server at target until
// the end of t.
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

// Address is where the proxy listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Arm makes the proxy cut at the n-th call from now on.
func (p *Proxy) Arm(n int, when Moment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls, p.at, p.when = 0, n, when
}

// WasCut says whether the proxy has cut; from then on nothing gets through.
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

// Cut ends all connections and lets none through any more.
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

// pass hands on what from sends as long as allowed says so.
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

// asks notes that the backend sent something.
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

// answers notes that the server sent something.
func (p *Proxy) answers(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.asking = false
	if l.swallow {
		p.cut()
	}
	return !p.dead
}
