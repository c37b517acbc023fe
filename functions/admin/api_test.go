package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/admin"
	"github.com/chandler-broker/chandler/functions/admin/admintest"
	"github.com/chandler-broker/chandler/functions/state"
)

type object = map[string]any

func newKey() object {
	return object{"id": uuid.NewString(), "key": strings.Repeat("k", 64), "role": state.Invoke}
}

func document(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(admin.Document())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// The document is valid with its examples, and describes the served routes.
func TestDocument(t *testing.T) {
	var described []string
	for path, item := range document(t).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(described)
	if diff := cmp.Diff(slices.Sorted(slices.Values(admin.Routes())), described); diff != "" {
		t.Errorf("(-served +described):\n%s", diff)
	}
}

// openValidated serves an operator's API, and validates all exchanges against the document:
// accepted requests are valid, and every answer is described.
func openValidated(t *testing.T) *admintest.Operator {
	t.Helper()
	o := admintest.Open(t, embeddedtest.Database(t))
	doc := document(t)
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	behind := o.URL
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		again, err := http.NewRequestWithContext(r.Context(), r.Method, behind+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		again.Header = r.Header.Clone()
		response, err := http.DefaultClient.Do(again)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		content, _ := io.ReadAll(response.Body) // a cut answer is not valid
		r.Body = io.NopCloser(bytes.NewReader(body))
		if route, parameters, err := router.FindRoute(r); err == nil {
			input := &openapi3filter.RequestValidationInput{Request: r, PathParams: parameters, Route: route,
				Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
			invalid := openapi3filter.ValidateRequest(r.Context(), input)
			if accepted := response.StatusCode < 300; accepted && invalid != nil {
				t.Errorf("%s %s: accepted, but the document refuses %s: %v", r.Method, r.URL, body, invalid)
			}
			err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
				RequestValidationInput: input, Status: response.StatusCode, Header: response.Header, Body: io.NopCloser(bytes.NewReader(content)), Options: input.Options,
			})
			if err != nil {
				t.Errorf("%s %s: the answer %d %s is not described: %v", r.Method, r.URL, response.StatusCode, content, err)
			}
		}
		maps.Copy(w.Header(), response.Header)
		w.WriteHeader(response.StatusCode)
		_, _ = w.Write(content)
	}))
	t.Cleanup(proxy.Close)
	o.URL = proxy.URL
	return o
}

// Namespaces and keys are made, changed, read, listed and deleted; again is harmless.
func TestLifecycle(t *testing.T) {
	o := openValidated(t)
	o.Expect(t, 200, "GET", "ready", nil)
	o.Expect(t, 404, "GET", "namespaces/a", nil)
	limits, folder := admintest.Limits(), t.TempDir()
	for range 2 {
		o.Namespace(t, "a", limits, admintest.Mount{Instance: "fs", Path: "/photos", Folder: folder})
	}
	limits.Concurrency = 7
	o.Namespace(t, "a", limits)
	o.Namespace(t, "b", limits)
	if got := o.Expect(t, 200, "GET", "namespaces/a", nil); got["limits"].(object)["concurrency"] != 7. || len(got["mounts"].([]any)) != 0 {
		t.Errorf("a namespace after a change: %v", got)
	}
	key := newKey()
	for range 2 {
		o.Expect(t, 204, "PUT", "namespaces/a/keys/k1", key)
	}
	got := o.Expect(t, 200, "GET", "namespaces/a/keys/k1", nil)
	delete(got, "created_at")
	if diff := cmp.Diff(object{"name": "k1", "namespace": "a", "id": key["id"], "role": "invoke"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for path, code := range map[string]string{"namespaces/b/keys/k1": "conflict", "namespaces/a/keys/k2": "conflict", "namespaces/c/keys/k2": "not_found"} {
		if _, answer := o.Do(t, "PUT", path, key); answer["code"] != code {
			t.Errorf("the same key at %s: %v", path, answer)
		}
	}
	o.Expect(t, 204, "DELETE", "namespaces/b/keys/k1", nil) // is another namespace's
	o.Expect(t, 200, "GET", "namespaces/a/keys/k1", nil)
	for range 2 {
		o.Expect(t, 204, "DELETE", "namespaces/a/keys/k1", nil)
	}
	o.Expect(t, 404, "GET", "namespaces/a/keys/k1", nil)
	for range 2 {
		o.Expect(t, 204, "DELETE", "namespaces/a", nil)
	}
}

// Each page begins where the last one ended, whatever their length.
func TestPages(t *testing.T) {
	o := openValidated(t)
	want := []string{"a", "b", "c", "d"}
	for _, name := range want {
		o.Namespace(t, name, admintest.Limits())
		o.Key(t, name, name+"-key")
	}
	for _, list := range []string{"namespaces", "keys"} {
		for _, limit := range []string{"1", "2", "3", "4", "1000"} {
			var got []string
			for after := ""; ; {
				answer := o.Expect(t, 200, "GET", list+"?limit="+limit+"&after="+after, nil)
				for _, item := range answer[list].([]any) {
					got = append(got, strings.TrimSuffix(item.(object)["name"].(string), "-key"))
				}
				if after, _ = answer["next"].(string); after == "" {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s by %s (-want +got):\n%s", list, limit, diff)
			}
		}
	}
}

// A request that breaks a rule is refused with the field and the rule, and changes nothing.
func TestRules(t *testing.T) {
	o := openValidated(t)
	o.Namespace(t, space, admintest.Limits())
	with := func(change func(limits object)) object {
		body := admintest.Body(admintest.Limits())
		var limits object
		recode(t, body["limits"], &limits)
		change(limits)
		body["limits"] = limits
		return body
	}
	mounted := func(m ...admintest.Mount) object { return admintest.Body(admintest.Limits(), m...) }
	folder := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(folder, link); err != nil {
		t.Fatal(err)
	}
	keyWith := func(field string, value any) object {
		k := newKey()
		k[field] = value
		return k
	}
	for name, test := range map[string]struct {
		method, path string
		body         any
		status       int
		fault        string
	}{
		"a name":                   {"PUT", "namespaces/whisk.system", mounted(), 400, "namespace: must be"},
		"the default namespace":    {"PUT", "namespaces/_", mounted(), 400, "namespace: must be"},
		"a key's name":             {"PUT", "namespaces/space/keys/K", newKey(), 400, "key: must be"},
		"no body":                  {"PUT", "namespaces/space", "", 400, "body"},
		"no object":                {"PUT", "namespaces/space", "[]", 400, "body: must be an object"},
		"no JSON":                  {"PUT", "namespaces/space", "{", 400, "body"},
		"two objects":              {"PUT", "namespaces/space", "{} {}", 400, "body: must be one JSON object"},
		"an unknown field":         {"PUT", "namespaces/space", object{"limit": 1}, 400, "limit: unknown field"},
		"a large body":             {"PUT", "namespaces/space", object{"x": strings.Repeat("x", admin.MaxBody)}, 413, "body: must be"},
		"no limits":                {"PUT", "namespaces/space", object{"mounts": []any{}}, 400, "limits: must be an object"},
		"an unknown limit":         {"PUT", "namespaces/space", with(func(l object) { l["disk"] = 1 }), 400, "limits.disk: unknown field"},
		"a missing limit":          {"PUT", "namespaces/space", with(func(l object) { delete(l, "triggers") }), 400, "limits.triggers: must be a whole number from 0 to 10000"},
		"a limit that is a text":   {"PUT", "namespaces/space", with(func(l object) { l["rules"] = "1" }), 400, "limits.rules: must be"},
		"a limit that is null":     {"PUT", "namespaces/space", with(func(l object) { l["rules"] = nil }), 400, "limits.rules: must be"},
		"a fraction":               {"PUT", "namespaces/space", with(func(l object) { l["rules"] = 1.5 }), 400, "limits.rules: must be"},
		"too little":               {"PUT", "namespaces/space", with(func(l object) { l["concurrency"] = 0 }), 400, "limits.concurrency: must be"},
		"too much":                 {"PUT", "namespaces/space", with(func(l object) { l["concurrency"] = 1001 }), 400, "limits.concurrency: must be"},
		"half a megabyte":          {"PUT", "namespaces/space", with(func(l object) { l["memory_bytes"] = 1<<25 + 1 }), 400, "limits.memory_bytes: must be a multiple of 1048576"},
		"a plan":                   {"PUT", "namespaces/space", with(func(l object) { l["plan"] = "a b" }), 400, "limits.plan: must be"},
		"a mount without instance": {"PUT", "namespaces/space", mounted(admintest.Mount{Path: "/a", Folder: folder}), 400, "mounts[0].instance: must have"},
		"a mount of the root":      {"PUT", "namespaces/space", mounted(admintest.Mount{Instance: "i", Path: "/", Folder: folder}), 400, "mounts[0].path: must be"},
		"a mount upwards":          {"PUT", "namespaces/space", mounted(admintest.Mount{Instance: "i", Path: "/a/../b", Folder: folder}), 400, "mounts[0].path: must be"},
		"a mount in another": {"PUT", "namespaces/space", mounted(admintest.Mount{Instance: "i", Path: "/a", Folder: folder}, admintest.Mount{Instance: "j", Path: "/a/b", Folder: folder}), 400,
			"mounts[1].path: another mount"},
		"a folder that is missing": {"PUT", "namespaces/space", mounted(admintest.Mount{Instance: "i", Path: "/a", Folder: folder + "/missing"}), 400, "mounts[0].folder: lstat"},
		"a folder that is a link":  {"PUT", "namespaces/space", mounted(admintest.Mount{Instance: "i", Path: "/a", Folder: link}), 400, "mounts[0].folder: " + link + " is not a directory"},
		"a relative folder":        {"PUT", "namespaces/space", mounted(admintest.Mount{Instance: "i", Path: "/a", Folder: "x"}), 400, "mounts[0].folder: must be"},
		"an id":                    {"PUT", "namespaces/space/keys/k", keyWith("id", "x"), 400, "id: must be a UUID"},
		"a short key":              {"PUT", "namespaces/space/keys/k", keyWith("key", "hunter2"), 400, "key: must be 32 to 128"},
		"a role":                   {"PUT", "namespaces/space/keys/k", keyWith("role", "admin"), 400, "role: must be"},
		"a role that is a number":  {"PUT", "namespaces/space/keys/k", keyWith("role", 1), 400, "role: must be a text"},
		"an empty page":            {"GET", "keys?limit=0", nil, 400, "limit: must be"},
		"a page that is too long":  {"GET", "namespaces?limit=1001", nil, 400, "limit: must be"},
		"an unknown parameter":     {"GET", "namespaces?page=2", nil, 400, "page: unknown parameter"},
		"an unknown route":         {"GET", "users", nil, 404, "GET /admin/v1/users: no such endpoint"},
		"an unknown method":        {"POST", "namespaces", object{}, 404, "POST /admin/v1/namespaces: no such endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := o.Expect(t, test.status, test.method, test.path, test.body)
			faults, _ := answer["errors"].([]any)
			if len(faults) != 1 || !strings.HasPrefix(faults[0].(string), test.fault) || strings.Contains(faults[0].(string), "hunter2") {
				t.Errorf("%v, want %q", answer, test.fault)
			}
		})
	}
	if got := o.Expect(t, 200, "GET", "namespaces/space", nil); got["created_at"] != got["updated_at"] {
		t.Errorf("it was changed: %v", got)
	}
	if got := o.Expect(t, 200, "GET", "keys", nil); len(got["keys"].([]any)) != 0 {
		t.Errorf("keys were made: %v", got)
	}
}

func recode(t *testing.T, from, into any) {
	t.Helper()
	raw, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// Mounts are stored with what identifies the directory.
func TestMountsAreIdentified(t *testing.T) {
	o, folder := open(t), filepath.Join(t.TempDir(), "folder")
	identified := func() state.Mount {
		t.Helper()
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		o.Namespace(t, space, admintest.Limits(), admintest.Mount{Instance: "fs", Path: "/photos", Folder: folder, ReadOnly: true})
		row, err := o.Store.Namespace(t.Context(), o.Store.Pool, space)
		if err != nil {
			t.Fatal(err)
		}
		var mounts []state.Mount
		if err := json.Unmarshal(row.Mounts, &mounts); err != nil || len(mounts) != 1 {
			t.Fatalf("%s: %v", row.Mounts, err)
		}
		return mounts[0]
	}
	first := identified()
	want := first
	want.Instance, want.Path, want.Folder, want.ReadOnly = "fs", "/photos", folder, true
	if first != want || first.Inode == 0 || first.Device == 0 {
		t.Errorf("a mount: %+v", first)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if second := identified(); second == first {
		t.Errorf("another directory of the same name cannot be told from the first one: %+v", second)
	}
}

// A caller without a token learns and changes nothing.
func TestAuthentication(t *testing.T) {
	o := open(t)
	for name, headers := range map[string][]string{
		"no token": nil, "another token": {"Bearer " + strings.Repeat("x", 27)}, "a part": {"Bearer " + admintest.Token[:20]},
		"more": {"Bearer " + admintest.Token + "x"}, "no scheme": {admintest.Token}, "Basic": {"Basic " + admintest.Token}, "an empty one": {"Bearer "},
	} {
		for _, route := range append(admin.Routes(), "GET /admin/v1/nothing") {
			method, path, _ := strings.Cut(route, " ")
			path = strings.NewReplacer("{namespace}", "n", "{key}", "k").Replace(path)
			request, err := http.NewRequestWithContext(t.Context(), method, o.URL+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if headers != nil {
				request.Header["Authorization"] = headers
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusUnauthorized || response.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: %s: %d", name, route, response.StatusCode)
			}
		}
	}
}

// Tokens are one a line, long enough, and never shown.
func TestTokens(t *testing.T) {
	long := strings.Repeat("t", 20)
	for text, fault := range map[string]string{"hunter2": "line 1: must have 20", long + "\n\nhunter2": "line 3", long + " hunter2": "line 1", "\n": "", long: ""} {
		a, err := admin.NewAuthenticator([]byte(text), nil)
		if (err == nil) != (fault == "") || err != nil && (!strings.Contains(err.Error(), fault) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%q: %v", text, err)
		}
		if (a == nil) != (text != long) {
			t.Errorf("%q: %v", text, a)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).InfoContext(context.Background(), "a", "b", a)
		if strings.Contains(log.String(), long) {
			t.Errorf("it is shown: %s", log.String())
		}
	}
	if _, err := admin.NewAuthenticator(nil, []byte("no certificate")); err == nil {
		t.Error("authorities without a certificate")
	}
}
