package bench_test

import (
	"log/slog"
	"net/http"
	"os"
	"time"
)

// What makes this test binary a plain net/http server, in a process of its own.
const (
	plainHandler = "CHANDLER_BENCH_PLAIN" // the file that it serves
	plainListen  = "CHANDLER_BENCH_LISTEN"
	plainLogs    = "CHANDLER_BENCH_LOGS" // a line for each request, as slog writes it
)

// servePlain is what the catalog's handler is measured against.
func servePlain(file string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	answer := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}
	handler := func(w http.ResponseWriter, _ *http.Request) { answer(w) }
	if os.Getenv(plainLogs) != "" {
		log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
		handler = func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			answer(w)
			log.InfoContext(r.Context(), "request answered", "route", r.URL.Path, "method", r.Method,
				"code", http.StatusOK, "duration_ms", float64(time.Since(began).Microseconds())/1000)
		}
	}
	return http.ListenAndServe(os.Getenv(plainListen), http.HandlerFunc(handler))
}
