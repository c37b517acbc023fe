package server

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/functions/admin/admintest"
)

// cutLink passes connections on to a server, and cuts the next one over which the
// client sends, once it has sent so many times.
type cutLink struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	armed bool
	left  int  // sendings until the cut
	after bool // whether the last of them still reaches the server
}

func newCutLink(t *testing.T, target string) *cutLink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &cutLink{listener: listener, target: target}
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

func (l *cutLink) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
	buffer := make([]byte, 1<<20)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		cut, pass := l.sent()
		if cut {
			_ = client.Close() // what the server does, nobody hears of
		}
		if cut && !pass {
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil || cut {
			return
		}
	}
}

// sent counts one sending: whether the connection is cut at it, and whether the
// server still gets it.
func (l *cutLink) sent() (cut, pass bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.armed {
		return false, false
	}
	l.left--
	if l.left > 0 {
		return false, false
	}
	l.armed = false
	return true, l.after
}

func (l *cutLink) arm(left int, after bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed, l.left, l.after = true, left, after
}

// disarm says whether no connection was cut.
func (l *cutLink) disarm() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	spared := l.armed
	l.armed = false
	return spared
}

// cutRequest is what is asked for while connections are cut.
type cutRequest struct {
	method, path string
	body         any
	fresh        bool // what it deletes is made before
}

// However far a request has come when its connection to the database is cut, before
// the server got what was sent or after: it is answered as it should be, or 503 with
// a text, and works when it is made again.
func TestConnectionCut(t *testing.T) {
	server := newServer(t)
	link := newCutLink(t, server.address(t))
	u, err := url.Parse(server.database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = link.listener.Addr().String()
	behind := &testServer{database: u.String(), key: server.key}
	behind.start(t)
	limits := admintest.Limits()
	limits.InvocationsPerMinute, limits.FiresPerMinute = 1<<30, 1<<30
	straight := server.bound(t, server.operator(t), space, limits)
	cut := straight
	cut.host = behind.url
	rule := object{"trigger": "/_/fired", "action": "/_/called"}
	straight.expect(t, 200, "PUT", straight.own("/actions/called"), javascript(hello))
	straight.expect(t, 200, "PUT", straight.own("/triggers/fired"), object{})
	straight.expect(t, 200, "PUT", straight.own("/rules/ruled"), rule)
	for _, request := range []cutRequest{
		{method: "PUT", path: "/actions/made?overwrite=true", body: javascript(hello)},
		{method: "PUT", path: "/packages/made-package?overwrite=true", body: object{}},
		{method: "PUT", path: "/triggers/made-trigger?overwrite=true", body: object{}},
		{method: "PUT", path: "/rules/made-rule?overwrite=true", body: rule},
		{method: "POST", path: "/actions/called?blocking=true", body: object{}},
		{method: "POST", path: "/actions/called", body: object{}},
		{method: "POST", path: "/triggers/fired", body: object{}},
		{method: "POST", path: "/rules/ruled", body: object{"status": "active"}},
		{method: "GET", path: "/actions/called"},
		{method: "GET", path: "/activations?docs=true"},
		{method: "DELETE", path: "/actions/gone", body: javascript(hello), fresh: true},
	} {
		t.Run(request.method+" "+request.path, func(t *testing.T) {
			link.everywhere(t, func(t *testing.T) {
				if request.fresh {
					straight.expect(t, 200, "PUT", straight.own(request.path+"?overwrite=true"), request.body)
				}
			}, func(t *testing.T) { request.make(t, cut) }, func(t *testing.T) { request.again(t, cut) })
		})
	}
}

// everywhere cuts what during sends at each of its sendings, with before and after
// around it uncut.
func (l *cutLink) everywhere(t *testing.T, before, during, after func(*testing.T)) {
	t.Helper()
	for _, delivered := range []bool{false, true} {
		cuts := 0
		for ; cuts < 100; cuts++ {
			before(t)
			l.arm(cuts+1, delivered)
			during(t)
			if l.disarm() {
				break // it was over before
			}
			after(t)
		}
		if cuts == 0 || cuts == 100 {
			t.Errorf("%d cuts (delivered: %t)", cuts, delivered)
		}
	}
}

func (r cutRequest) make(t *testing.T, a application) {
	t.Helper()
	status, answer := a.do(t, r.method, a.own(r.path), r.body)
	problem, _ := answer.(object)
	if message, _ := problem["error"].(string); status >= 300 && (status != 503 || message == "") {
		t.Errorf("%d %v", status, answer)
	}
}

func (r cutRequest) again(t *testing.T, a application) {
	t.Helper()
	status, answer := a.do(t, r.method, a.own(r.path), r.body)
	if gone := r.fresh && status == 404; status >= 300 && !gone {
		t.Errorf("again: %d %v", status, answer)
	}
}
