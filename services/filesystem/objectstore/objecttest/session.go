// Package objecttest is what the tests of the backends of S3 buckets share: sessions, clients and
// attacks.
package objecttest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// Context is long enough for a test, even on a busy machine.
func Context(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Session is an application's session.
type Session struct{ *objectstore.Session }

// Dial opens an application's session on credentials.
func Dial(t *testing.T, values map[string]any) Session {
	t.Helper()
	s, err := objectstore.Dial(Context(t), values)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return Session{s.(*objectstore.Session)}
}

// Put writes an object.
func (s Session) Put(t *testing.T, key, value string) error {
	t.Helper()
	return s.Write(Context(t), key, value)
}

// MustPut writes an object, or ends the test.
func (s Session) MustPut(t *testing.T, key, value string) {
	t.Helper()
	if err := s.Put(t, key, value); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// Expect fails t if the error does not contain words.
func Expect(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}

// Rejected fails t if the error is not a refusal that contains words.
func Rejected(t *testing.T, err error, words string) {
	t.Helper()
	message, ok := services.IsRejected(err)
	if !ok || !strings.Contains(message, words) {
		t.Errorf("%v, want a refusal with %q in it", err, words)
	}
}

// Text is one of the credentials that are strings.
func Text(t *testing.T, values map[string]any, key string) string {
	t.Helper()
	s, ok := values[key].(string)
	if !ok {
		t.Fatalf("the credentials have no %s", key)
	}
	return s
}

// SideBySide runs n functions concurrently.
func SideBySide(t *testing.T, n int, work func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = work(i) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Fetch gets a link and returns the status of the answer.
func Fetch(t *testing.T, link string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(Context(t), http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// HungUp says that the connection broke before there was an answer.
func HungUp(err error) bool {
	_, is := errors.AsType[*url.Error](err)
	return is
}

// OddKeys are keys that something could stumble over.
func OddKeys() []string {
	return []string{
		"a/b/c/d", "a/b", "a/b/", "folder/", "ä ö", "日本/🚢", `quote"'<>&`, "100%", "a+b", "a b", "..a", "a..", "?q=1", "#x", "%2e%2e", "-", "*", "\\", "tab\there", "new\nline",
		strings.Repeat("k", 255), strings.Repeat("k/", 200) + "end",
	}
}
