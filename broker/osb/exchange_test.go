package osb

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"
)

func recordedExchange(method, target string) (*exchange, *httptest.ResponseRecorder) {
	recorder := httptest.NewRecorder()
	return newExchange(recorder, httptest.NewRequest(method, target, nil)), recorder
}

// bare is an api that gives every request to h, without authentication.
func bare(log *bytes.Buffer, h handler, observe func(route, method string, code int, took time.Duration)) *api {
	a := &api{Options: Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Observe: observe}, router: mux.NewRouter()}
	a.router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x, _ := w.(*exchange)
		if err := h(x, r); err != nil {
			x.refuse(r, err)
		}
	})
	return a
}

func TestPanicBeforeTheAnswer(t *testing.T) {
	var log bytes.Buffer
	var observed int
	a := bare(&log, func(*exchange, *http.Request) error { panic("hunter2") }, func(_, _ string, code int, _ time.Duration) { observed = code })
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Broker-API-Request-Identity", "r-1")
	a.ServeHTTP(w, r)
	want := `{"description":"the broker failed; its log says why under the request identity r-1"}` + "\n"
	if w.Code != 500 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	if observed != 500 {
		t.Errorf("observed %d", observed)
	}
	if text := log.String(); !strings.Contains(text, "request_id=r-1") || !strings.Contains(text, "TestPanicBeforeTheAnswer") {
		t.Errorf("the log holds neither the request's identity nor the stack:\n%s", text)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Error("the log quotes the panic's value")
	}
}

func TestPanicWithinTheAnswerCutsTheConnection(t *testing.T) {
	var log bytes.Buffer
	a := bare(&log, func(x *exchange, _ *http.Request) error {
		x.WriteHeader(200)
		panic("late")
	}, nil)
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
			t.Errorf("panicked with %v, want http.ErrAbortHandler", p)
		}
		if !strings.Contains(log.String(), "request answered") {
			t.Error("the request is not logged")
		}
	}()
	a.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

func TestObservedLabelsAreBounded(t *testing.T) {
	var got []string
	a := bare(&bytes.Buffer{}, func(*exchange, *http.Request) error { return errors.New("unforeseen") },
		func(route, method string, code int, _ time.Duration) {
			got = append(got, route, method, http.StatusText(code))
		})
	for _, method := range []string{"GET", "BREW", "get"} {
		a.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/", nil))
	}
	const failed = "Internal Server Error"
	if diff := cmp.Diff([]string{"unknown", "GET", failed, "unknown", "other", failed, "unknown", "other", failed}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
