package openwhisk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// feeds replace package feed.
type feeds struct {
	mu    sync.Mutex
	asked []string
	err   error
}

func (f *feeds) Invoke(_ context.Context, namespace, action string, params json.RawMessage) (json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf("%s %s %s", namespace, action, params))
	return json.RawMessage(`{"status":"ok"}`), f.err
}

func (f *feeds) Export(context.Context, state.DBTX, string, string) (*feed.Copy, error) {
	return nil, nil
}

func (f *feeds) Import(_ context.Context, namespace, trigger string, c feed.Copy) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf("import %s %s %s", namespace, trigger, c.Kind))
	return f.err
}

func (f *feeds) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		return ""
	}
	return f.asked[len(f.asked)-1]
}

// Feeds are actions of whisk.system, which every namespace can read, bind and invoke.
func TestFeeds(t *testing.T) {
	s := newServer(t, newRunner())
	f := &feeds{}
	s.api.UseFeeds(f)
	c := s.tenant("ns", plan())
	system := func(method, path, body string) reply {
		return c.call(method, "/api/v1/namespaces/whisk.system/"+path, body)
	}
	packages := system("GET", "packages", "").list(t)
	if len(packages) != 2 || packages[0]["name"] != "alarms" || packages[1]["name"] != "messaging" || packages[0]["publish"] != true {
		t.Errorf("packages %v", packages)
	}
	pkg := system("GET", "packages/alarms", "").json(t)
	if feeds := pkg["feeds"].([]any); len(feeds) != 3 || len(pkg["actions"].([]any)) != 0 {
		t.Errorf("package %v", pkg)
	}
	if got := len(system("GET", "actions/alarms/", "").list(t)); got != 3 {
		t.Errorf("%d actions", got)
	}
	if got := system("GET", "actions/alarms/alarm", ""); got.status != 200 || got.json(t)["namespace"] != "whisk.system/alarms" {
		t.Errorf("%d %s", got.status, got.body)
	}
	got := system("POST", "actions/alarms/alarm?blocking=true", `{"lifecycleEvent":"CREATE","triggerName":"/_/t","cron":"* * * * *","authKey":"x"}`)
	same(t, "invoked", got.json(t)["response"], `{"result":{"status":"ok"},"status":"success","success":true,"size":15}`)
	if want := `ns alarms/alarm {"authKey":"x","cron":"* * * * *","lifecycleEvent":"CREATE","triggerName":"/_/t"}`; f.last() != want {
		t.Errorf("%s", f.last())
	}
	same(t, "whose activation", got.json(t)["namespace"], `"ns"`)
	c.must(200, "PUT", "packages/mine", `{"binding":{"namespace":"whisk.system","name":"messaging"},"parameters":[{"key":"servers","value":"s"}]}`)
	c.must(200, "GET", "packages/mine", "")
	c.must(200, "GET", "actions/mine/nats", "")
	c.must(200, "POST", "actions/mine/nats?blocking=true", `{"lifecycleEvent":"CREATE"}`)
	if want := `ns messaging/nats {"lifecycleEvent":"CREATE","servers":"s"}`; f.last() != want {
		t.Errorf("through a binding: %s", f.last())
	}
	c.must(200, "PUT", "triggers/t", `{"annotations":[{"key":"feed","value":"/_/mine/nats"}]}`)
	c.must(200, "DELETE", "triggers/t", "")
	if want := `ns messaging/nats {"lifecycleEvent":"DELETE","triggerName":"/ns/t"}`; f.last() != want {
		t.Errorf("a trigger's end: %s", f.last())
	}
	for path, want := range map[string]int{
		"GET packages/none": 404, "GET actions/alarms/none": 404, "POST actions/alarms/none": 404, "POST actions/none/alarm": 404, "POST actions/alarm": 404,
		"PUT actions/alarms/alarm": 403, "DELETE packages/alarms": 403, "PUT packages/new": 403, "GET triggers": 403, "GET actions": 403,
	} {
		var method, what string
		if _, err := fmt.Sscan(path, &method, &what); err != nil {
			t.Fatal(err)
		}
		if got := system(method, what, "{}"); got.status != want {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	f.err = &feed.Refusal{Message: "no trigger"}
	if got := system("POST", "actions/alarms/once?blocking=true&result=true", "{}"); got.status != 502 {
		t.Errorf("refused: %d %s", got.status, got.body)
	}
	f.err = errors.New("password is hunter2")
	if got := system("POST", "actions/alarms/once?blocking=true&result=true", "{}"); got.status != 500 || messageOnly(t, got) != "The feed could not be changed, try again." {
		t.Errorf("failed: %d %s", got.status, got.body)
	}
}

// The API describes itself, and refuses unknown paths and methods.
func TestDescription(t *testing.T) {
	s := newServer(t, newRunner())
	for path, want := range map[string]int{
		"/": 200, "/api/v1": 200, "/api/v1/": 200, "/api/v2": 404, "/api/v1/namespaces": 401, "/api/v1/nothing": 404, "/api/v1/namespaces/_/things": 404,
	} {
		if got := s.do(s.request("GET", path, "")); got.status != want {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	same(t, "version", s.do(s.request("GET", "/api/v1", "")).json(t), `{"description":"OpenWhisk API","api_version":"1.0.0","api_version_path":"v1","build":"chandler","buildno":"1"}`)
	request := s.request("GET", "/api/v1/namespaces", "")
	request.Header.Set("X-Request-Id", "mine-1")
	if got := s.do(request); messageOf(t, got) == "" || got.json(t)["code"] != "mine-1" {
		t.Errorf("%s", got.body)
	}
	if got := s.do(s.request("PATCH", "/api/v1/namespaces/_/actions/a", "")); got.status != 405 || got.header.Get("Allow") != "DELETE, GET, POST, PUT, OPTIONS" {
		t.Errorf("%d %v", got.status, got.header)
	}
}
