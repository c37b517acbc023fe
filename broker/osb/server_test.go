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
	"testing"
	"time"
)

// serve runs the server on a free port of the loopback until the test ends.
func serve(t *testing.T, s *http.Server) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
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
	return listener.Addr().String()
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

// short is the server with limits that a test can wait for.
func short(h http.Handler) *http.Server {
	s := Server(h, nil, slog.New(slog.DiscardHandler))
	s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = 200*time.Millisecond, 400*time.Millisecond, 800*time.Millisecond, 300*time.Millisecond
	return s
}

func TestSlowClientsAreCutOff(t *testing.T) {
	body := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := readBody(w, r); err != nil {
			x := newExchange(w, r)
			x.refuse(r, err)
		}
	})
	for _, c := range []struct{ name, send, want string }{
		{"says nothing", "", ""},
		{"stops within the headers", "PUT / HTTP/1.1\r\nHost: b\r\nX-", ""},
		{"stops within the body", "PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: 10\r\n\r\n{", "the body broke off"},
		{"asks and then idles", "PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", serve(t, short(body)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.send); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			got, err := io.ReadAll(conn) // ends when the server closes
			if err != nil {
				t.Fatalf("the connection is still open: %v", err)
			}
			if !strings.Contains(string(got), c.want) {
				t.Errorf("answered %q, want %q in it", got, c.want)
			}
		})
	}
}

func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	ended := make(chan error, 1)
	s := short(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 64 { // more than the kernel buffers
			if _, err := w.Write(chunk); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}))
	conn, err := net.Dial("tcp", serve(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: b\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all was written though nobody read")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the handler still writes")
	}
}

// waiting reads a body and then waits for longer than the limits of short.
func waiting(w http.ResponseWriter, hr *http.Request) {
	x := newExchange(w, hr)
	r := &request{http: hr, w: w, wait: 5 * time.Second}
	if _, err := r.body(); err != nil {
		x.refuse(hr, err)
		return
	}
	wait, cancel := context.WithTimeout(hr.Context(), time.Second)
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
	conn, err := net.Dial("tcp", serve(t, short(http.HandlerFunc(waiting))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for range 2 { // the limits are back for the second request
		if _, err := io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusCreated {
			t.Fatalf("answered %s", answer.Status)
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := answers.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("idle connection: %v, want it closed", err)
	}
}

func TestWaitOutlivesTheLimitsOverHTTP2(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	cert, key := pair(t, "one")
	write(t, certFile, cert)
	write(t, keyFile, key)
	certificate, err := NewCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := short(http.HandlerFunc(waiting))
	s.TLSConfig = Server(nil, certificate, slog.New(slog.DiscardHandler)).TLSConfig
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), "PUT", "https://"+serve(t, s)+"/", strings.NewReader("{}"))
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
}
