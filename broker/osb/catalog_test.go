package osb_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb"
	"github.com/chandler-broker/chandler/services"
)

// changed is when the catalog of loaded was last changed.
var changed = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// loaded is a catalog from a file with so many plans.
func loaded(t testing.TB, plans int) *catalog.Catalog {
	t.Helper()
	text := "backends:\n  memory: {type: database/memory, config: {}}\nservices:\n- {id: s, name: memory, description: Rooms in memory, bindable: true, plans: ["
	for i := range plans {
		text += fmt.Sprintf("{id: p%d, name: plan-%d, description: A plan, backend: memory, config: {}},", i, i)
	}
	file := filepath.Join(t.TempDir(), "catalog.yml")
	if err := os.WriteFile(file, []byte(text+"]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, changed, changed); err != nil {
		t.Fatal(err)
	}
	definitions := []services.Definition{brokertest.NewBackend().Definition()}
	c, err := catalog.Load(file, definitions, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func catalogHandler(t testing.TB, c *catalog.Catalog) http.Handler {
	return osb.Handler(osb.Options{
		Broker: broker.New(broker.Options{Catalog: c}), Catalog: c, RequireVersion: true,
		Logger:        slog.New(slog.NewJSONHandler(io.Discard, nil)), //nolint:sloglint // the benchmark pays for the log's encoding
		Authenticator: brokertest.Authenticator(t, catalog.Client{Name: "cf", Username: "cf", Passwords: []services.Secret{services.NewSecret("cf-password")}}),
		Observe:       func(string, string, int, time.Duration) {},
	})
}

// A platform that asks by date gets 304 until the file is newer (RFC 9110,
// section 13.1.3).
func TestCatalogByDate(t *testing.T) {
	t.Parallel()
	c := loaded(t, 1)
	h := catalogHandler(t, c)
	for _, tc := range []struct {
		name, since, match string
		want               int
	}{
		{"no condition", "", "", 200},
		{"same second", changed.Format(http.TimeFormat), "", 304},
		{"later", changed.Add(time.Hour).Format(http.TimeFormat), "", 304},
		{"earlier", changed.Add(-time.Second).Format(http.TimeFormat), "", 200},
		{"not a date", "yesterday", "", 200},
		{"another tag counts more", changed.Format(http.TimeFormat), `"x"`, 200},
		{"the same tag counts more", changed.Add(-time.Hour).Format(http.TimeFormat), c.ETag(), 304},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/v2/catalog", nil)
			r.SetBasicAuth("cf", "cf-password")
			r.Header.Set("X-Broker-API-Version", "2.17")
			if tc.since != "" {
				r.Header.Set("If-Modified-Since", tc.since)
			}
			if tc.match != "" {
				r.Header.Set("If-None-Match", tc.match)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tc.want || (w.Body.Len() == 0) != (tc.want == 304) {
				t.Errorf("answered %d with %d bytes, want %d", w.Code, w.Body.Len(), tc.want)
			}
			if have := w.Header().Get("Last-Modified"); tc.want == 200 && have != "Sun, 01 Mar 2026 12:00:00 GMT" {
				t.Errorf("Last-Modified: %q", have)
			}
		})
	}
}

// BenchmarkCatalog compares GET /v2/catalog, authentication and log included,
// with a plain net/http handler of the same bytes. The client writes and reads
// raw bytes, so that nearly all CPU is the server's.
func BenchmarkCatalog(b *testing.B) {
	c := loaded(b, 20)
	plain := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(c.JSON())))
		_, _ = w.Write(c.JSON())
	})
	b.Run("plain", func(b *testing.B) { benchmark(b, plain) })
	b.Run("broker", func(b *testing.B) { benchmark(b, catalogHandler(b, c)) })
}

func benchmark(b *testing.B, h http.Handler) {
	server := httptest.NewServer(h)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := []byte("GET /v2/catalog HTTP/1.1\r\nHost: broker\r\nX-Broker-API-Version: 2.17\r\nX-Broker-API-Request-Identity: 26ef5e6a\r\nAuthorization: Basic " +
		base64.StdEncoding.EncodeToString([]byte("cf:cf-password")) + "\r\n\r\n")
	answers := bufio.NewReaderSize(conn, 1<<16)
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		skip(b, answers)
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// skip reads one answer.
func skip(b *testing.B, answers *bufio.Reader) {
	length := 0
	for {
		line, err := answers.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if len(line) == 2 {
			break
		}
		if len(line) > 16 && string(line[:16]) == "Content-Length: " {
			length, _ = strconv.Atoi(string(line[16 : len(line)-2]))
		}
	}
	if _, err := answers.Discard(length); err != nil || length == 0 {
		b.Fatalf("%d bytes, %v", length, err)
	}
}

func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
