package osb

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network of one listener, in memory, so that time can be the
// bubble's: a test of minutes takes none.
type pipes struct {
	dialled chan net.Conn
	closed  chan struct{}
	close   func()
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.dialled:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close()
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.dialled <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// serve runs the server until the test ends.
func serve(t *testing.T, s *http.Server) *pipes {
	t.Helper()
	closed := make(chan struct{})
	p := &pipes{dialled: make(chan net.Conn), closed: closed, close: sync.OnceFunc(func() { close(closed) })}
	serveOn(t, s, p)
	return p
}

// serveOn runs the server on a listener until the test ends.
func serveOn(t *testing.T, s *http.Server, listener net.Listener) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		if s.TLSConfig != nil {
			done <- s.ServeTLS(listener, "", "")
		} else {
			done <- s.Serve(listener)
		}
	}()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
}

// connected is a client's connection to the server.
func connected(t *testing.T, s *http.Server) net.Conn {
	t.Helper()
	conn, err := serve(t, s).dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func TestServerHasEveryLimit(t *testing.T) {
	s := Server(http.NotFoundHandler(), nil, slog.New(slog.DiscardHandler))
	for name, limit := range map[string]time.Duration{
		"ReadHeaderTimeout": s.ReadHeaderTimeout, "ReadTimeout": s.ReadTimeout, "WriteTimeout": s.WriteTimeout, "IdleTimeout": s.IdleTimeout,
	} {
		if limit <= 0 || limit > 2*time.Minute {
			t.Errorf("%s is %s", name, limit)
		}
	}
	if s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 1<<20 {
		t.Errorf("MaxHeaderBytes is %d", s.MaxHeaderBytes)
	}
}

func plain(h http.HandlerFunc) *http.Server {
	return Server(h, nil, slog.New(slog.DiscardHandler))
}

func TestSlowClientsAreCutOff(t *testing.T) {
	body := func(w http.ResponseWriter, r *http.Request) {
		if _, err := readBody(w, r); err != nil {
			x := newExchange(w, r)
			x.refuse(r, err)
		}
	}
	for _, c := range []struct {
		name, send, want string
		after            time.Duration
	}{
		{"says nothing", "", "", readHeaderTimeout},
		{"stops within the headers", "PUT / HTTP/1.1\r\nHost: b\r\nX-", "", readHeaderTimeout},
		{"stops within the body", "PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: 10\r\n\r\n{", "the body broke off", readTimeout},
		{"asks and then idles", "PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 200", idleTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := connected(t, plain(body))
				begin := time.Now()
				say(t, conn, c.send)
				got, err := io.ReadAll(conn) // ends when the server closes
				if err != nil || !strings.Contains(string(got), c.want) {
					t.Errorf("answered %q, %v, want %q in it", got, err, c.want)
				}
				if took := time.Since(begin); took != c.after {
					t.Errorf("cut off after %s, not %s", took, c.after)
				}
			})
		})
	}
}

func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error)
		conn := connected(t, plain(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 1<<20))
			ended <- err
		}))
		begin := time.Now()
		say(t, conn, "GET / HTTP/1.1\r\nHost: b\r\n\r\n")
		if err := <-ended; err == nil {
			t.Error("everything was written to a client that does not read")
		}
		if took := time.Since(begin); took != writeTimeout {
			t.Errorf("cut off after %s, not %s", took, writeTimeout)
		}
	})
}

// waiting reads a body and then waits for longer than the server's limits.
func waiting(w http.ResponseWriter, hr *http.Request) {
	x := newExchange(w, hr)
	if _, err := readBody(w, hr); err != nil {
		x.refuse(hr, err)
		return
	}
	x.extendDeadlines(3 * time.Minute)
	wait, cancel := context.WithTimeout(hr.Context(), time.Minute)
	defer cancel()
	<-wait.Done()
	if hr.Context().Err() != nil {
		x.refuse(hr, invalid("the request was cancelled"))
		return
	}
	x.WriteHeader(http.StatusCreated)
}

// A request that waits for the broker outlives the server's limits, which are
// for slow clients, and its context does not end with them.
func TestWaitOutlivesTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := connected(t, plain(waiting))
		answers := bufio.NewReader(conn)
		for range 2 { // the limits are back for the second request
			say(t, conn, "PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}")
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusCreated {
				t.Fatalf("answered %s", answer.Status)
			}
		}
		begin := time.Now()
		if _, err := answers.ReadByte(); !errors.Is(err, io.EOF) || time.Since(begin) != idleTimeout {
			t.Errorf("idle connection: %v after %s, want it closed after %s", err, time.Since(begin), idleTimeout)
		}
	})
}

func TestWaitOutlivesTheLimitsOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		certFile, keyFile := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
		cert, key := pair(t, "one")
		write(t, certFile, cert)
		write(t, keyFile, key)
		certificate, err := NewCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		network := serve(t, Server(http.HandlerFunc(waiting), certificate, slog.New(slog.DiscardHandler)))
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(cert)
		client := http.Client{Transport: &http.Transport{
			DialContext:     network.dial,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		}}
		defer client.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), "PUT", "https://127.0.0.1/", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusCreated || answer.ProtoMajor != 2 {
			t.Errorf("answered %s over %s", answer.Status, answer.Proto)
		}
	})
}
