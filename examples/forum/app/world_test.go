package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/postgres"
	"github.com/chandler-broker/chandler/services/dns/powerdns"
	"github.com/chandler-broker/chandler/services/filesystem/s3"
	"github.com/chandler-broker/chandler/services/queue/nats"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// world is what a platform gives an application: services, on real servers, and
// a folder with their credentials.
type world struct {
	dir      string // SERVICE_BINDING_ROOT
	services map[string]*provided
	nats     *embedded.NATS
}

// provided is one instance; its plan and parameters are those that the catalog
// would have.
type provided struct {
	driver   *servicetest.Driver
	instance services.RawInstance
	bound    services.RawBinding
	number   int
}

const zone = "forum.apps.example.com"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), services: map[string]*provided{}}
	w.provide(t, "database", postgres.Definition(), map[string]any{"url": embeddedtest.Postgres(t).URL("postgres")}, `{}`, `{}`)
	w.startQueue(t)
	dns := embeddedtest.PowerDNS(t)
	w.provide(t, "dns", powerdns.Definition(), map[string]any{
		"url": dns.APIURL(), "api_key": dns.APIKey(), "host": dns.Host(), "port": dns.Port(), "nameservers": []string{"ns1.example.com"},
	}, `{"parents": ["apps.example.com"]}`, `{"zone": "`+zone+`"}`)
	gateway := embeddedtest.VersityGW(t, embedded.VersityGWOptions{Dir: t.TempDir()})
	w.provide(t, "bucket", s3.Definition(), map[string]any{
		"endpoint": gateway.Endpoint(), "access_key_id": gateway.AccessKeyID(), "secret_access_key": gateway.SecretAccessKey(),
	}, `{"delete_contents": true}`, `{}`)
	return w
}

func (w *world) startQueue(t *testing.T) {
	t.Helper()
	var err error
	if w.nats, err = embedded.StartNATS(t.Context(), embedded.NATSOptions{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.nats.Stop(context.Background()); err != nil { // t's context has ended
			t.Error(err)
		}
	})
	w.provide(t, "queue", nats.Definition(), map[string]any{
		"url": w.nats.URL(), "operator_seed_file": w.nats.OperatorSeedFile(), "system_creds_file": w.nats.SystemCredsFile(),
	}, `{}`, `{}`)
}

func (w *world) provide(t *testing.T, name string, d services.Definition, config map[string]any, plan, params string) {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	p := &provided{}
	if p.driver, err = servicetest.Open(t.Context(), d, raw); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.driver.Close() })
	p.instance = p.driver.Instance("forum-"+name, json.RawMessage(plan), json.RawMessage(params))
	if err := p.driver.Provision(t.Context(), p.instance); err != nil {
		t.Fatalf("provision the %s: %v", name, err)
	}
	t.Cleanup(func() {
		if err := servicetest.ToTheEnd(context.Background(), func(ctx context.Context) error { return p.driver.Deprovision(ctx, p.instance) }); err != nil {
			t.Errorf("deprovision the %s: %v", name, err)
		}
	})
	w.services[name] = p
	w.rotate(t, name)
}

// rotate gives the application other credentials; the ones before go on to work
// until revoke.
func (w *world) rotate(t *testing.T, name string) (revoke func()) {
	t.Helper()
	p := w.services[name]
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	before := p.bound
	p.number++
	p.bound = services.RawBinding{ID: fmt.Sprintf("%s-%d", name, p.number), Params: json.RawMessage(`{}`), Seed: seed}
	credentials, err := p.driver.Bind(t.Context(), p.instance, p.bound)
	if err != nil {
		t.Fatalf("bind the %s: %v", name, err)
	}
	w.project(t, name, credentials.Values)
	return func() {
		t.Helper()
		before.Seed = nil
		if err := servicetest.ToTheEnd(t.Context(), func(ctx context.Context) error { return p.driver.Unbind(ctx, p.instance, before) }); err != nil {
			t.Fatalf("unbind the %s: %v", name, err)
		}
	}
}

// project writes a binding's files into a new folder and puts a link to it in the
// place of the old one.
func (w *world) project(t *testing.T, name string, values map[string]any) {
	t.Helper()
	version := t.TempDir()
	for key, value := range values {
		text, ok := value.(string)
		if !ok {
			encoded, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			text = string(encoded)
		}
		if err := os.WriteFile(filepath.Join(version, key), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(w.dir, name)
	if err := errors.Join(os.Symlink(version, link+".next"), os.Rename(link+".next", link)); err != nil {
		t.Fatal(err)
	}
}

// visited is a running forum and a visitor's client of it.
type visited struct {
	*forum
	url string
	log *bytes.Buffer // to be read after the end
}

// start runs a forum in this world, without functions, until the test ends, and
// waits until it has all the rest.
func (w *world) start(t *testing.T) *visited {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	source, err := bindings.FromEnvironment(func(key string) string { return map[string]string{"SERVICE_BINDING_ROOT": w.dir}[key] })
	if err != nil {
		t.Fatal(err)
	}
	set, err := source.Read()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &visited{url: "http://" + listener.Addr().String(), log: &bytes.Buffer{}}
	v.forum = newForum(slog.New(slog.NewTextHandler(v.log, nil)), options{address: "192.0.2.7", host: "www"})
	var running sync.WaitGroup
	running.Go(func() {
		if err := v.serve(ctx, listener, source, set); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if t.Failed() {
			t.Logf("the forum's log:\n%s", v.log)
		}
	})
	await(t, "the forum is connected", func() bool {
		for _, name := range []string{"database", "bucket", "queue", "name"} {
			if v.identity(t, name) == "" {
				return false
			}
		}
		return true
	})
	return v
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(2 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("it never comes true that %s", what)
		}
	}
}

func (v *visited) all(t *testing.T) map[string]linkStatus {
	t.Helper()
	var all map[string]linkStatus
	if err := json.Unmarshal(v.page(t, "/status"), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func (v *visited) identity(t *testing.T, name string) string { return v.all(t)[name].Identity }

func (v *visited) page(t *testing.T, path string) []byte {
	t.Helper()
	answer, err := http.Get(v.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// form is a visitor's, with these fields.
func form(name string, photograph []byte) (body io.Reader, kind string) {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	_ = w.WriteField("name", name) // a buffer takes everything
	if photograph != nil {
		part, _ := w.CreateFormFile("photograph", "me.jpg")
		_, _ = part.Write(photograph)
	}
	_ = w.Close()
	return &out, w.FormDataContentType()
}

// join registers and returns the path of the member's page.
func (v *visited) join(name string, photograph []byte) (path string, err error) {
	body, kind := form(name, photograph)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Post(v.url+"/members", kind, body)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusSeeOther {
		text, _ := io.ReadAll(answer.Body)
		return "", fmt.Errorf("%s: %s", answer.Status, text)
	}
	return answer.Header.Get("Location"), nil
}

func photo() []byte {
	in := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for i := range in.Pix {
		in.Pix[i] = byte(i)
	}
	in.Set(1, 1, color.White)
	var out bytes.Buffer
	_ = jpeg.Encode(&out, in, nil) // a buffer takes everything
	return out.Bytes()
}

// sql asks the forum's database as its operator would.
func (w *world) sql(t *testing.T, question string) string {
	t.Helper()
	uri, err := os.ReadFile(filepath.Join(w.dir, "database", "uri"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), string(uri))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var answer string
	if err := conn.QueryRow(t.Context(), question).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// read returns the files of a binding.
func (w *world) read(t *testing.T, name string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(w.dir, name, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		values[entry.Name()] = string(content)
	}
	return values
}
