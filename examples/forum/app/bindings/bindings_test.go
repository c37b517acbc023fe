package bindings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const services = `{
	"queue": [{"name": "orders", "label": "queue", "credentials": {"type": "nats", "port": 4222, "servers": ["a", "b"], "tls": false}}],
	"database": [
		{"name": "second", "credentials": {"type": "postgresql", "uri": "postgres://b"}},
		{"name": "first", "credentials": {"type": "postgresql", "uri": "postgres://a"}}
	]
}`

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// project writes a binding as Kubernetes mounts one: files that are links into a
// folder that is replaced as a whole.
func project(t *testing.T, dir string, values map[string]string) {
	t.Helper()
	version, err := os.MkdirTemp(mkdir(t, dir), "..")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range values {
		write(t, filepath.Join(version, key), value)
		if err := os.Symlink(filepath.Join("..data", key), filepath.Join(dir, key)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Base(version), filepath.Join(dir, "..next")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSources(t *testing.T) {
	root := t.TempDir()
	project(t, filepath.Join(root, "orders"), map[string]string{"type": "nats", "port": "4222", "servers": `["a", "b"]`, "tls": "false"})
	project(t, filepath.Join(root, "first"), map[string]string{"type": "postgresql", "uri": "postgres://a"})
	project(t, filepath.Join(root, "second"), map[string]string{"type": "postgresql", "uri": "postgres://b"})
	path := filepath.Join(t.TempDir(), "services.json")
	write(t, path, services)

	for name, environment := range map[string]map[string]string{
		"folders":  {"SERVICE_BINDING_ROOT": root, "VCAP_SERVICES": "not looked at"},
		"file":     {"VCAP_SERVICES_FILE_PATH": path, "VCAP_SERVICES": "not looked at"},
		"variable": {"VCAP_SERVICES": services},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := FromEnvironment(func(key string) string { return environment[key] })
			if err != nil {
				t.Fatal(err)
			}
			set, err := source.Read()
			if err != nil {
				t.Fatal(err)
			}
			database, err := set.Of("postgresql")
			if err != nil || database.Name != "first" || database.Get("uri") != "postgres://a" {
				t.Errorf("the database is %s at %q, %v", database, database.Get("uri"), err)
			}
			queue, err := set.Of("nats")
			got := []string{queue.Name, queue.Get("port"), queue.Get("servers"), queue.Get("tls"), queue.Get("creds")}
			if diff := cmp.Diff([]string{"orders", "4222", `["a", "b"]`, "false", ""}, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
			if _, err := set.Of("redis"); err == nil {
				t.Error("there is a redis")
			}
		})
	}
}

func TestNoSource(t *testing.T) {
	if _, err := FromEnvironment(func(string) string { return "" }); err == nil {
		t.Error("a source out of nothing")
	}
	for name, source := range map[string]Source{
		"no folder": folders(filepath.Join(t.TempDir(), "none")), "no file": file(filepath.Join(t.TempDir(), "none")),
		"no JSON": variable("hunter2"), "another JSON": variable(`["hunter2"]`),
	} {
		if _, err := source.Read(); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRedaction(t *testing.T) {
	b := New("db", map[string]string{"password": "hunter2"})
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("bound", "binding", b, "set", Set{b})
	encoded, err := json.Marshal(Set{b})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q", b, Set{b}, b, b, b), log.String(), string(encoded)} {
		if strings.Contains(text, "hunter2") {
			t.Error(text)
		}
	}
}

// A reader never sees a value of one version of a binding beside one of another.
func TestReplacedWhileRead(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "db")
	version := func(n int) map[string]string {
		return map[string]string{"type": "postgresql", "username": fmt.Sprint(n), "password": fmt.Sprint(n)}
	}
	project(t, dir, version(0))
	done := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				project(t, dir, version(n))
			}
		}
	})
	defer writer.Wait()
	defer close(done)
	seen := map[string]bool{}
	for len(seen) < 50 {
		set, err := folders(root).Read()
		if err != nil {
			continue // it changed too fast, and the reader said so
		}
		b, err := set.Of("postgresql")
		if err != nil {
			t.Fatal(err)
		}
		if b.Get("username") != b.Get("password") {
			t.Fatalf("user name of version %s, password of version %s", b.Get("username"), b.Get("password"))
		}
		seen[b.Get("username")] = true
	}
}

// changing is a source that a test changes.
type changing struct {
	mu  sync.Mutex
	set Set
	err error
}

func (c *changing) Read() (Set, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set, c.err
}

func (c *changing) become(set Set, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set, c.err = set, err
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := Set{New("db", map[string]string{"password": "1"})}, Set{New("db", map[string]string{"password": "2"})}
		source := &changing{set: one}
		var told []string
		look := make(chan os.Signal)
		go Watch(t.Context(), source, one, time.Minute, look, slog.New(slog.DiscardHandler), func(s Set) { told = append(told, s[0].Get("password")) })
		expect := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, told); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
		time.Sleep(3 * time.Minute)
		expect("nothing changed")
		source.become(nil, errors.New("away"))
		time.Sleep(3 * time.Minute)
		expect("it cannot be read")
		source.become(two, nil)
		time.Sleep(61 * time.Second)
		expect("it changed", "2")
		source.become(one, nil)
		look <- os.Interrupt
		expect("it changed and somebody said so", "2", "1")
	})
}
