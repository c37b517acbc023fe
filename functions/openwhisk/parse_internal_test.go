package openwhisk

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
)

// FuzzRender gives web actions' results to all extensions: each is answered, as
// itself or with a 400 or 404 that says why.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		`{"statusCode":200,"headers":{"a":["b",1,true]},"body":"x"}`, `{"body":{"a":1}}`, `{"headers":{"content-type":"image/png"},"body":"AA=="}`,
		`{"error":{"statusCode":404}}`, `{"html":"x","svg":"y","text":null}`, `[]`, `"x"`, `null`, `{"headers":{"":""}}`, `{"headers":{"x":"\r\n"}}`,
	} {
		f.Add([]byte(seed), ".http", false)
		f.Add([]byte(seed), ".text", true)
	}
	f.Fuzz(func(t *testing.T, result []byte, extension string, failed bool) {
		if !json.Valid(result) {
			return
		}
		w := httptest.NewRecorder()
		c := &webCall{call: newCall(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)), extension: extension}
		p := performed{record: &record{result: result}}
		if failed {
			p.status = applicationError
		}
		err := c.render(p)
		if problem, ok := errors.AsType[*problem](err); err != nil && (!ok || problem.status != 400 && problem.status != 404) {
			t.Errorf("%v", err)
		}
		for name, values := range w.Header() {
			if strings.ContainsAny(name+strings.Join(values, ""), "\r\n") {
				t.Errorf("header %q: %q", name, values)
			}
		}
	})
}

// FuzzNames parses what requests call things: what is accepted is made of valid
// names and reads the same again.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"/_/a", "ns/p/a", "a", "//a", "/ns/p/a/b", "/ns/a b", "{\"path\":\"ns/p\",\"name\":\"a\"}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if q, err := parseQualified(s, "own"); err == nil {
			for _, part := range []string{q.namespace, q.name} {
				if !validName(part) || strings.Contains(part, "/") {
					t.Errorf("%q: %q", s, part)
				}
			}
			if again, err := parseQualified("/"+q.String(), "other"); err != nil || again != q {
				t.Errorf("%q: %v, then %v, %v", s, q, again, err)
			}
		}
		if _, err := parseReference(json.RawMessage(s), "own"); err != nil {
			if _, ok := errors.AsType[*problem](err); !ok {
				t.Errorf("%v", err)
			}
		}
		if v, err := parseVersion(s); err == nil {
			if next, err := nextVersion(nil, v); err != nil || next == v {
				t.Errorf("%q: %s, then %s, %v", s, v, next, err)
			}
		}
	})
}

// FuzzParameters reads key-values: what is accepted comes out as it went in.
func FuzzParameters(f *testing.F) {
	f.Add([]byte(`[{"key":"a","value":1},{"key":"a","value":{"b":[1.50]}},{"key":"c","init":true}]`))
	f.Add([]byte(`null`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var kvs keyValues
		if json.Unmarshal(raw, &kvs) != nil {
			return
		}
		seen := map[string]bool{}
		for _, kv := range kvs {
			if seen[kv.Key] || kv.Key == "" || !json.Valid(kv.Value) {
				t.Errorf("%+v", kv)
			}
			seen[kv.Key] = true
		}
		again := decodeKeyValues(kvs.encode())
		if string(again.encode()) != string(kvs.encode()) {
			t.Errorf("%s, then %s", kvs.encode(), again.encode())
		}
	})
}

// FuzzToken reads what activations call the API with: only what token made is
// taken.
func FuzzToken(f *testing.F) {
	sealer, err := state.ParseKeys([]byte(state.GenerateKey()))
	if err != nil {
		f.Fatal(err)
	}
	a := &API{Options: Options{Sealer: sealer}}
	id := idText(uuid.New())
	good := strings.TrimPrefix(a.token(id, identity{namespace: "ns", binding: "b"}, time.Now().Add(time.Hour)), id+":")
	late := strings.TrimPrefix(a.token(id, identity{namespace: "ns", binding: "b"}, time.Now().Add(-time.Second)), id+":")
	if got, err := a.readToken(id, good); err != nil || got.namespace != "ns" || got.binding != "b" {
		f.Fatalf("%+v, %v", got, err)
	}
	f.Add(id, late)
	f.Add(idText(uuid.New()), good)
	f.Add(id, strings.Replace(good, "ns.", "sn.", 1))
	f.Add(id, strings.Replace(good, ".b.", "..", 1))
	f.Fuzz(func(t *testing.T, activation, token string) {
		if got, err := a.readToken(activation, token); err == nil && (activation != id || token != good) {
			t.Errorf("%q, %q is taken: %+v", activation, token, got)
		}
	})
}

// Every error has a status and a text, and what is not known says nothing.
func TestVerdict(t *testing.T) {
	const away = "The server is currently unavailable (because it is overloaded or down for maintenance)."
	for name, test := range map[string]struct {
		err     error
		status  int
		message string
	}{
		"refused":   {refuse(http.StatusConflict, "resource %s", "x"), 409, "resource x"},
		"too large": {&http.MaxBytesError{Limit: 5}, 413, "Request larger than allowed: more than 5 bytes."},
		"wrapped":   {errors.Join(errors.New("secret"), errNotFound), 404, "The requested resource does not exist."},
		"deadlock":  {fmt.Errorf("x: %w", &pgconn.PgError{Code: "40P01"}), 503, away},
		"tx lost":   {fmt.Errorf("x: %w", pgx.ErrTxClosed), 503, away},
		"workers":   {fmt.Errorf("x: %w", sandbox.ErrUnavailable), 503, away},
		"ending":    {fmt.Errorf("x: %w", sandbox.ErrClosed), 503, away},
		"unknown":   {errors.New("the password is hunter2"), 500, "There was an internal server error."},
		"sealed":    {state.ErrSealed, 500, "There was an internal server error."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verdict(test.err); got.status != test.status || got.message != test.message {
				t.Errorf("%d %q", got.status, got.message)
			}
		})
	}
}
