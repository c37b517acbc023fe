package openwhisk_test

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/openwhisk-client-go/whisk"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/sandbox"
)

// pool is the real sandbox.
func pool(t testing.TB) *sandbox.Pool {
	t.Helper()
	p, err := sandbox.Open(t.Context(), sandbox.Options{Command: []string{embeddedtest.FunctionsProgram(t), "worker"}, Folder: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// guest compiles a program of testdata to WebAssembly.
func guest(t testing.TB, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), name+".wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", out, "./testdata/"+name)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// The npm client works unchanged, and so do functions written for OpenWhisk.
func TestNpmClient(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("npm is missing: install the Debian packages nodejs and npm")
		}
		t.Skip("npm is missing: install the Debian packages nodejs and npm")
	}
	s := newServer(t, pool(t))
	s.api.UseFeeds(&feeds{})
	c := s.tenant("ns", plan())
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/npm")); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), name, args...)
		command.Dir = dir
		command.Env = append(os.Environ(), "__OW_API_HOST="+s.url, "__OW_API_KEY="+c.user+":"+c.key, "NAMESPACE=ns")
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s\nlog of the runtime:\n%s", name, args, err, out, s.logs)
		}
		return string(out)
	}
	run(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	if out := run("node", "client.js"); out != "all well\n" {
		t.Errorf("%s", out)
	}
}

// The Go client deploys, calls and cleans up without changes.
func TestGoClient(t *testing.T) {
	s := newServer(t, pool(t))
	c := s.tenant("ns", plan())
	client, err := whisk.NewClient(&http.Client{Timeout: generous}, &whisk.Config{Host: s.url, AuthToken: c.user + ":" + c.key, Version: "v1", Namespace: "_"})
	if err != nil {
		t.Fatal(err)
	}
	if info, _, err := client.Info.Get(); err != nil || info.Build == "" {
		t.Errorf("info %+v, %v", info, err)
	}
	greetingCode, upperCode := base64.StdEncoding.EncodeToString(guest(t, "greet")), "function upper(p) { return {text: p.text.toUpperCase()} }"
	yes := true
	made, _, err := client.Actions.Insert(&whisk.Action{Name: "greet", Exec: &whisk.Exec{Kind: "wasm:default", Code: &greetingCode, Binary: &yes},
		Parameters: whisk.KeyValueArr{{Key: "name", Value: "nobody"}}}, false)
	if err != nil || made.Version != "0.0.1" || made.Namespace != "ns" {
		t.Fatalf("%+v, %v", made, err)
	}
	if _, _, err := client.Actions.Insert(&whisk.Action{Name: "upper", Exec: &whisk.Exec{Kind: "nodejs:default", Code: &upperCode, Main: "upper"}}, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Actions.Insert(&whisk.Action{Name: "both", Exec: &whisk.Exec{Kind: "sequence", Components: []string{"/_/greet", "/_/upper"}}}, true); err != nil {
		t.Fatal(err)
	}
	result, _, err := client.Actions.Invoke("both", map[string]string{"name": "Ada"}, true, true)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "result", result, `{"text":"HELLO ADA"}`)
	whole, _, err := client.Actions.Invoke("greet", nil, true, false)
	if err != nil {
		t.Fatal(err)
	}
	id := whole.(map[string]any)["activationId"].(string)
	record, _, err := client.Activations.Get(id)
	if err != nil || record.Name != "greet" || record.StatusCode != 0 || len(record.Logs) != 1 {
		t.Errorf("record %+v, %v", record, err)
	}
	if logs, _, err := client.Activations.Logs(id); err != nil || len(logs.Logs) != 1 {
		t.Errorf("logs %+v, %v", logs, err)
	}
	if list, _, err := client.Activations.List(&whisk.ActivationListOptions{Limit: 10}); err != nil || len(list) != 4 {
		t.Errorf("%d activations, %v", len(list), err)
	}
	if _, _, err := client.Actions.Invoke("greet", map[string]string{"name": ""}, true, true); err == nil || err.Error() != "no name" {
		t.Errorf("an application error: %v", err)
	}
	if _, _, err := client.Actions.Get("nobody", true); err == nil || !bytes.Contains([]byte(err.Error()), []byte("The requested resource does not exist.")) {
		t.Errorf("not there: %v", err)
	}
	goTriggers(t, client)
	for _, name := range []string{"greet", "upper", "both"} {
		if _, err := client.Actions.Delete(name); err != nil {
			t.Error(err)
		}
	}
	if list, _, err := client.Actions.List("", &whisk.ActionListOptions{}); err != nil || len(list) > 0 {
		t.Errorf("left: %v, %v", list, err)
	}
	if names, _, err := client.Namespaces.List(); err != nil || len(names) != 1 || names[0].Name != "ns" {
		t.Errorf("namespaces %v, %v", names, err)
	}
}

func goTriggers(t *testing.T, client *whisk.Client) {
	t.Helper()
	if _, _, err := client.Packages.Insert(&whisk.Package{Name: "p", Parameters: whisk.KeyValueArr{{Key: "x", Value: 1}}}, false); err != nil {
		t.Error(err)
	}
	if _, _, err := client.Packages.Insert(&whisk.BindingPackage{Name: "b", Binding: whisk.Binding{Namespace: "_", Name: "p"}}, false); err != nil {
		t.Error(err)
	}
	if p, _, err := client.Packages.Get("b"); err != nil || p.Binding.Name != "p" || len(p.Parameters) != 1 {
		t.Errorf("binding %+v, %v", p, err)
	}
	if list, _, err := client.Packages.List(&whisk.PackageListOptions{}); err != nil || len(list) != 2 {
		t.Errorf("packages %v, %v", list, err)
	}
	if _, _, err := client.Triggers.Insert(&whisk.Trigger{Name: "t"}, false); err != nil {
		t.Error(err)
	}
	rule, _, err := client.Rules.Insert(&whisk.Rule{Name: "r", Trigger: "/_/t", Action: "/_/greet"}, false)
	if err != nil || rule.Status != "active" {
		t.Errorf("rule %+v, %v", rule, err)
	}
	if _, _, err := client.Rules.SetState("r", "inactive"); err != nil {
		t.Error(err)
	}
	if fired, _, err := client.Triggers.Fire("t", map[string]int{"a": 1}); err != nil || fired.ActivationId != "" {
		t.Errorf("no active rule: %+v, %v", fired, err)
	}
	if _, _, err := client.Rules.SetState("r", "active"); err != nil {
		t.Error(err)
	}
	if fired, _, err := client.Triggers.Fire("t", map[string]int{"a": 1}); err != nil || len(fired.ActivationId) != 32 {
		t.Errorf("fired %+v, %v", fired, err)
	}
	if _, err := client.Rules.Delete("r"); err != nil {
		t.Error(err)
	}
	if _, _, err := client.Triggers.Delete("t"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"b", "p"} {
		if _, err := client.Packages.Delete(name); err != nil {
			t.Error(err)
		}
	}
}

// A Go program that serves with net/http/cgi is a web action without changes.
func TestGoProgramServes(t *testing.T) {
	s := newServer(t, pool(t))
	c := s.tenant("ns", plan())
	code := base64.StdEncoding.EncodeToString(guest(t, "serve"))
	c.must(200, "PUT", "actions/site", `{"exec":{"kind":"wasm:default","code":"`+code+`"},`+exported+`,{"key":"cgi","value":true}]}`)
	got := c.web("POST", "default/site/upload/a%20b?x=1", "\x00\xffbinary", "Content-Type", "application/octet-stream")
	if got.status != 201 || string(got.body) != "POST /upload/a b x=1 \x00\xffbinary" || got.header.Get("X-Served-By") != "net/http/cgi" {
		t.Errorf("%d %v %q", got.status, got.header, got.body)
	}
	request := c.request("GET", "/api/v1/web/ns/default/site/redirect", "")
	redirect := s.do(request)
	if redirect.status != 303 || redirect.header.Get("Location") == "" {
		t.Errorf("%d %v", redirect.status, redirect.header)
	}
}

// The limits of the sandbox apply: time, memory, logs; and it refuses invalid code.
func TestSandboxVerdicts(t *testing.T) {
	s := newServer(t, pool(t))
	c := s.tenant("ns", plan())
	c.action("loop", "function main() { for (;;) {} }", `"limits":{"timeout":100}`)
	start := time.Now()
	got := c.must(502, "POST", "actions/loop?blocking=true", "").json(t)
	same(t, "a loop", got["response"].(map[string]any)["status"], `"action developer error"`)
	same(t, "its words", got["response"].(map[string]any)["result"], `{"error":"The action exceeded its time limits of 100 milliseconds."}`)
	if took := time.Since(start); took > generous {
		t.Errorf("it took %s", took)
	}
	if got := c.do("PUT", "actions/none", `{"exec":{"kind":"wasm:default","code":"AGFzbQ=="}}`); got.status != 400 {
		t.Errorf("no module: %d %s", got.status, got.body)
	}
	if got := c.do("PUT", "actions/none", `{"exec":{"kind":"nodejs:default","code":"function main( {"}}`); got.status != 400 {
		t.Errorf("no JavaScript: %d %s", got.status, got.body)
	}
	c.must(404, "GET", "actions/none", "")
}
