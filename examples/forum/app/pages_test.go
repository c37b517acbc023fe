package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/examples/forum/functions/picture"
)

func TestPages(t *testing.T) {
	v := newWorld(t).start(t)
	cross := http.Header{"Sec-Fetch-Site": {"cross-site"}}
	tests := []struct {
		name         string
		method, path string
		called       string
		photograph   []byte
		header       http.Header
		code         int
		says         string
	}{
		{"home", http.MethodGet, "/", "", nil, nil, 200, "Nobody is here yet"},
		{"style", http.MethodGet, "/style.css", "", nil, nil, 200, "font"},
		{"nowhere", http.MethodGet, "/nowhere", "", nil, nil, 404, ""},
		{"nobody", http.MethodGet, "/members/nobody", "", nil, nil, 404, "no such member"},
		{"nobody's picture", http.MethodGet, "/members/nobody/picture", "", nil, nil, 404, "no such member"},
		{"a name of another language", http.MethodPost, "/members", "Ægir Þórsson 王", photo(), nil, 303, ""},
		{"no name", http.MethodPost, "/members", "  ", photo(), nil, 422, "a name must have 1 to 80 visible characters"},
		{"a long name", http.MethodPost, "/members", strings.Repeat("n", 81), photo(), nil, 422, "a name must have 1 to 80 visible characters"},
		{"a name that cannot be seen", http.MethodPost, "/members", "a\x00b", photo(), nil, 422, "a name must have 1 to 80 visible characters"},
		{"a name that is not text", http.MethodPost, "/members", "\xff\xfe", photo(), nil, 422, "a name must have 1 to 80 visible characters"},
		{"no photograph", http.MethodPost, "/members", "Ada", nil, nil, 422, "send a photograph"},
		{"an empty photograph", http.MethodPost, "/members", "Ada", []byte{}, nil, 415, "JPEG, PNG or GIF"},
		{"a program", http.MethodPost, "/members", "Ada", []byte("<script>alert(1)</script>"), nil, 415, "JPEG, PNG or GIF"},
		{"too large", http.MethodPost, "/members", "Ada", append(photo(), make([]byte, maxForm)...), nil, 413, "may have at most 10 MB"},
		{"from another's page", http.MethodPost, "/members", "Ada", photo(), cross, 403, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var body io.Reader = http.NoBody
			kind := ""
			if test.method == http.MethodPost {
				body, kind = form(test.called, test.photograph)
			}
			code, text := v.send(t, test.method, test.path, kind, body, test.header)
			if code != test.code || !strings.Contains(text, test.says) {
				t.Errorf("answered %d: %s", code, text)
			}
		})
	}
	if code, text := v.send(t, http.MethodPost, "/members", "application/json", strings.NewReader(`{}`), nil); code != 400 {
		t.Errorf("what is no form: %d: %s", code, text)
	}
	// The functions are not bound in this test, and the status says so.
	if code, text := v.send(t, http.MethodGet, "/status", "", http.NoBody, nil); code != 503 || !strings.Contains(text, "no service of type openwhisk is bound") {
		t.Errorf("the status: %d: %s", code, text)
	}
}

func (v *visited) send(t *testing.T, method, path, kind string, body io.Reader, header http.Header) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, v.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		request.Header = header.Clone()
	}
	request.Header.Set("Content-Type", kind)
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Header.Get("X-Content-Type-Options") != "nosniff" && answer.StatusCode != 403 && path != "/nowhere" {
		t.Errorf("headers %v", answer.Header)
	}
	return answer.StatusCode, string(text)
}

// A photograph of the largest size that the functions take can be sent.
func TestLargestPhotograph(t *testing.T) {
	v := newWorld(t).start(t)
	path, err := v.join("Ada", append(photo(), bytes.Repeat([]byte{0}, picture.MaxBytes-len(photo()))...))
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(path, "/members/")
	bucket, done, err := v.bucket.use()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	content, size, err := bucket.get(t.Context(), "photographs/"+id)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if size != picture.MaxBytes {
		t.Errorf("%d bytes arrived", size)
	}
}

func TestRunRefuses(t *testing.T) {
	bound := `{"db": [{"name": "db", "credentials": {"type": "postgresql"}}]}`
	tests := []struct {
		name string
		args []string
		env  map[string]string
		says string
	}{
		{"no services", []string{"-listen", "127.0.0.1:0"}, nil, "no services are bound"},
		{"nowhere to serve", nil, map[string]string{"VCAP_SERVICES": bound}, "no address to serve on"},
		{"services that cannot be read", []string{"-listen", "127.0.0.1:0"}, map[string]string{"VCAP_SERVICES": "{"}, "not JSON"},
		{"an address of somebody else", []string{"-listen", "192.0.2.1:80"}, map[string]string{"VCAP_SERVICES": bound}, "serve"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := run(t.Context(), slog.New(slog.DiscardHandler), test.args, func(key string) string { return test.env[key] })
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v", err)
			}
		})
	}
}
