package servicetest_test

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// echo is a server that answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
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
				defer conn.Close()
				lines := bufio.NewReader(conn)
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(line))
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// ask sends a line and returns the result within the time.
func ask(conn net.Conn, limit time.Duration) string {
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		return "closed"
	}
	answer := make([]byte, 6)
	n, err := conn.Read(answer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "hangs"
	}
	if err != nil {
		return "closed"
	}
	return string(answer[:n])
}

func TestProxy(t *testing.T) {
	proxy, err := servicetest.StartProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", proxy.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	first := dial()
	expect("flowing", ask(first, time.Second), "hello\n")
	proxy.Freeze()
	expect("frozen", ask(first, 50*time.Millisecond), "hangs")
	second := dial()
	expect("a new connection while frozen", ask(second, 50*time.Millisecond), "hangs")
	proxy.Thaw()
	expect("after the thaw", ask(second, time.Second), "hello\n")
	open := dial()
	expect("before the cut", ask(open, time.Second), "hello\n")
	proxy.Cut()
	expect("cut", ask(open, time.Second), "closed")
	expect("after the cut", ask(dial(), time.Second), "hello\n")
	third := dial()
	expect("before the end", ask(third, time.Second), "hello\n")
	proxy.Freeze()
	if err := proxy.Close(); err != nil {
		t.Error(err)
	}
	expect("closed", ask(third, time.Second), "closed")
}

// Count leaves out calls by their first bytes.
func TestProxyCounts(t *testing.T) {
	for selected, want := range map[string]string{"hello": "closed", "bye": "hello\n"} {
		proxy := servicetest.NewProxy(t, echo(t))
		proxy.Count(func(call []byte) bool { return bytes.HasPrefix(call, []byte(selected)) })
		proxy.Arm(1, servicetest.Before)
		conn, err := net.Dial("tcp", proxy.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if got := ask(conn, time.Minute); got != want {
			t.Errorf("%s: %q, want %q", selected, got, want)
		}
	}
}

// A call that was to be cut after its answer is spared when the proxy is armed anew before the
// answer comes.
func TestProxyArmedAnew(t *testing.T) {
	proxy := servicetest.NewProxy(t, echo(t))
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", proxy.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	proxy.ArmConnection(1, servicetest.After)
	conn := dial()
	if _, err := conn.Write([]byte("not yet a line, ")); err != nil {
		t.Fatal(err)
	}
	for proxy.Calls() == 0 {
		time.Sleep(time.Millisecond)
	}
	proxy.Arm(0, servicetest.After)
	if got := ask(conn, time.Minute); got != "not ye" {
		t.Errorf("the connection: %q, want its answer", got)
	}
	if got := ask(dial(), time.Minute); got != "hello\n" {
		t.Errorf("another connection: %q, want its answer", got)
	}
}
