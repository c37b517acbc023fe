package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/admin"
	"github.com/chandler-broker/chandler/functions/admin/admintest"
)

// contents says what happens in the copy itself.
type contents struct{}

func (contents) Export(_ context.Context, namespace string, w io.Writer) error {
	if namespace == "unavailable" {
		return errors.New("no copy")
	}
	if _, err := io.WriteString(w, "a line of "+namespace+"\n"); err != nil || namespace == "half" {
		return errors.Join(err, errors.New("half a copy"))
	}
	return nil
}

type refusal int

func (r refusal) Error() string { return "refused" }
func (r refusal) Status() int   { return int(r) }

func (contents) Import(_ context.Context, _ string, r io.Reader) (any, error) {
	var status int
	if _, err := fmt.Fscanf(r, "%d\n", &status); err != nil {
		return nil, err
	}
	switch status {
	case 200:
		_, err := io.Copy(io.Discard, r)
		return map[string]string{"format": "x"}, err
	case 500:
		return nil, errors.New("broken")
	}
	return nil, refusal(status)
}

// A copy that fails is no answer or half an answer, never a whole one, and each is in the log; the
// reason reaches a client that is still sending.
func TestContents(t *testing.T) {
	o := admintest.Open(t, embeddedtest.Database(t))
	authenticator, err := admin.NewAuthenticator([]byte(admintest.Token), nil)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	server := httptest.NewServer(admin.New(admin.Options{
		Store: o.Store, Authenticator: authenticator, Logger: slog.New(slog.NewTextHandler(&log, nil)), Contents: contents{},
	}))
	do := func(method, namespace, body string) (status int, header http.Header, text string, err error) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/admin/v1/namespaces/"+namespace+"/contents", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+admintest.Token)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, nil, "", err
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		return response.StatusCode, response.Header, string(content), err
	}
	for _, name := range []string{"whole", "half", "unavailable"} {
		o.Namespace(t, name, admintest.Limits())
	}
	if status, header, text, err := do("GET", "whole", ""); err != nil || status != 200 || text != "a line of whole\n" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("a copy: %d %v %q: %v", status, header, text, err)
	}
	if _, _, text, err := do("GET", "half", ""); err == nil {
		t.Errorf("half a copy is answered as a whole one: %q", text)
	}
	for namespace, want := range map[string]int{"unavailable": 500, "missing": 404} {
		if status, _, text, err := do("GET", namespace, ""); err != nil || status != want || !strings.Contains(text, "errors") {
			t.Errorf("a copy of %s: %d %s: %v", namespace, status, text, err)
		}
	}
	for _, want := range []int{200, 400, 409, 422, 500} {
		if status, _, text, err := do("POST", "whole", fmt.Sprintf("%d\n%s", want, strings.Repeat("x", 8<<20))); err != nil || status != want {
			t.Errorf("a restore that ends with %d: %d %s: %v", want, status, text, err)
		}
	}
	if status, _, _, err := do("POST", "missing", "200\n"); err != nil || status != 404 {
		t.Errorf("a restore to no namespace: %d: %v", status, err)
	}
	server.Close()
	if text := log.String(); !strings.Contains(text, "method=GET path=/admin/v1/namespaces/whole/contents status=200") || strings.Contains(text, "a line") {
		t.Errorf("the log is\n%s", text)
	}
}
