package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
	"github.com/chandler-broker/chandler/examples/forum/functions/picture"
)

// worker plays the functions: it takes events off the queue, puts a picture into
// the bucket and reports.
type worker struct {
	v       *visited
	done    atomic.Int32
	headers sync.Map // by member: the event's
}

func (w *worker) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if err := w.next(ctx); err != nil && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond) // the queue is away, or has nothing
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (w *worker) next(ctx context.Context) error {
	queue, done, err := w.v.queue.use()
	if err != nil {
		return err
	}
	defer done()
	consumer, err := queue.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: "worker", FilterSubject: subjectReceived, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	m, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
	if err != nil {
		return err
	}
	var job picture.Job
	if err := json.Unmarshal(m.Data(), &job); err != nil {
		return err
	}
	w.headers.Store(job.ID, m.Headers())
	if err := w.work(ctx, queue, &job); err != nil {
		return err
	}
	w.done.Add(1)
	return m.DoubleAck(ctx)
}

func (w *worker) work(ctx context.Context, queue *queue, job *picture.Job) error {
	bucket, release, err := w.v.bucket.use()
	if err != nil {
		return err
	}
	defer release()
	small := photo()
	job.Picture, job.Width, job.Height, job.Size = "pictures/"+job.ID+".jpg", 64, 48, len(small)
	if err := bucket.put(ctx, job.Picture, bytes.NewReader(small), int64(len(small)), "image/jpeg"); err != nil {
		return err
	}
	report, err := json.Marshal(job)
	if err != nil {
		return err
	}
	_, err = queue.js.Publish(ctx, subjectReady, report)
	return err
}

func TestStory(t *testing.T) {
	w := newWorld(t)
	v := w.start(t)
	functions := &worker{v: v}
	functions.run(t)

	path, err := v.join("Ada <b>Lovelace</b>", photo())
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the page has the picture", func() bool { return strings.Contains(string(v.page(t, path)), "<img") })
	for _, page := range []string{path, "/"} {
		if text := string(v.page(t, page)); !strings.Contains(text, "Ada &lt;b&gt;Lovelace") || !strings.Contains(text, path+"/picture") {
			t.Errorf("%s is %s", page, text)
		}
	}
	if _, err := jpeg.Decode(bytes.NewReader(v.page(t, path+"/picture"))); err != nil {
		t.Errorf("the picture: %v", err)
	}
	id := strings.TrimPrefix(path, "/members/")
	headers, _ := functions.headers.Load(id)
	got, _ := headers.(nats.Header)
	for key, want := range map[string]string{"ce-specversion": "1.0", "ce-id": id, "ce-type": eventType, "ce-source": "/forum"} {
		if got.Get(key) != want {
			t.Errorf("the event's %s is %q, not %q", key, got.Get(key), want)
		}
	}
	if address := ask(t, w, "www."+zone); address != "192.0.2.7" {
		t.Errorf("the name leads to %q", address)
	}
}

// ask asks the zone's server for an address.
func ask(t *testing.T, w *world, name string) string {
	t.Helper()
	b := w.read(t, "dns")
	answer, _, err := new(dns.Client).ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), b["host"]+":"+b["port"])
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range answer.Answer {
		if a, ok := record.(*dns.A); ok {
			return a.A.String()
		}
	}
	return ""
}

// Credentials of each service are replaced while visitors come, and the old ones
// stop working: nobody notices.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	v := w.start(t)
	functions := &worker{v: v}
	functions.run(t)
	traffic := &traffic{v: v, done: make(chan struct{})}
	for n := range 3 {
		traffic.running.Go(func() { traffic.visit(t, n) })
	}
	for _, name := range []string{"database", "bucket", "queue", "dns"} {
		for range 2 {
			service := map[string]string{"dns": "name"}[name]
			if service == "" {
				service = name
			}
			before := v.identity(t, service)
			revoke := w.rotate(t, name)
			await(t, "the forum uses the "+name+"'s new credentials alone", func() bool {
				s := v.all(t)[service]
				return s.Identity != before && s.Retiring == 0
			})
			revoke()
			seen := traffic.served.Load()
			await(t, "visitors are served", func() bool { return traffic.served.Load() > seen+5 })
		}
	}
	close(traffic.done)
	traffic.running.Wait()
	await(t, "every photograph has its picture", func() bool { return w.sql(t, `select count(*)::text from members where picture = ''`) == "0" })
	if joined := w.sql(t, `select count(*)::text from members`); joined != strconv.Itoa(int(traffic.joined.Load())) {
		t.Errorf("%s members, of %d who joined", joined, traffic.joined.Load())
	}
}

// traffic is visitors who join and look around.
type traffic struct {
	v              *visited
	done           chan struct{}
	served, joined atomic.Int32
	running        sync.WaitGroup
}

func (f *traffic) visit(t *testing.T, n int) {
	for i := 0; ; i++ {
		select {
		case <-f.done:
			return
		case <-time.After(20 * time.Millisecond):
		}
		path, err := f.v.join(fmt.Sprintf("visitor %d of %d", i, n), photo())
		if err != nil {
			t.Errorf("join: %v", err)
			return
		}
		f.joined.Add(1)
		for _, page := range []string{path, "/"} {
			answer, err := http.Get(f.v.url + page)
			if err != nil {
				t.Errorf("%s: %v", page, err)
				return
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", page, answer.Status)
			}
		}
		f.served.Add(1)
	}
}

// What cannot be registered or deployed is said to be so, and what to do.
func TestLinksRefuse(t *testing.T) {
	w := newWorld(t)
	set := func(name string, change map[string]string) bindings.Set {
		values := w.read(t, name)
		maps.Copy(values, change)
		return bindings.Set{bindings.New(name, values)}
	}
	good := options{address: "192.0.2.7", host: "www"}
	none := bindings.New("functions", map[string]string{"auth": "u:k", "api_host": "http://127.0.0.1:1", "namespace": "n"})
	tests := []struct {
		name string
		open func(context.Context) error
		says string
	}{
		{"no address", func(ctx context.Context) error { _, err := options{}.register(ctx, set("dns", nil)); return err }, "set -address"},
		{"an invalid address", func(ctx context.Context) error {
			_, err := options{address: "here", host: "www"}.register(ctx, set("dns", nil))
			return err
		}, "not an IP address"},
		{"another key", func(ctx context.Context) error {
			_, err := good.register(ctx, set("dns", map[string]string{"tsig_secret": "b3RoZXIgc2VjcmV0IG90aGVyIHNlY3JldA=="}))
			return err
		}, "update the zone"},
		{"another zone", func(ctx context.Context) error {
			_, err := good.register(ctx, set("dns", map[string]string{"zone": "apps.example.com"}))
			return err
		}, "the server answers"},
		{"a queue's invalid token", func(ctx context.Context) error {
			_, err := good.deploy(ctx, append(bindings.Set{none}, set("queue", map[string]string{"jwt": "x"})...))
			return err
		}, "not the token of a NATS user"},
		{"no functions", func(ctx context.Context) error {
			_, err := options{functions: t.TempDir()}.deploy(ctx, append(bindings.Set{none}, set("queue", nil)...))
			return err
		}, "-functions names the folder"},
		{"a database's invalid uri", func(ctx context.Context) error {
			_, err := openDatabase(ctx, set("database", map[string]string{"uri": "postgres://u:hunter2@h:x/"}))
			return err
		}, "not a PostgreSQL URI"},
		{"a bucket's other key", func(ctx context.Context) error {
			_, err := openBucket(ctx, set("bucket", map[string]string{"secret_access_key": "hunter2hunter2"}))
			return err
		}, "look into the bucket"},
		{"an invalid authority", func(ctx context.Context) error {
			_, err := openBucket(ctx, set("bucket", map[string]string{"ca": "x"}))
			return err
		}, "ca must be a certificate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.open(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A photograph that arrives while the queue is away is announced when it is back.
func TestQueueAway(t *testing.T) {
	w := newWorld(t)
	v := w.start(t)
	w.nats.StopNode(0)
	path, err := v.join("Grace", photo())
	if err != nil {
		t.Fatal(err)
	}
	if unannounced := w.sql(t, `select count(*)::text from members where announced_at is null`); unannounced != "1" {
		t.Errorf("%s are unannounced", unannounced)
	}
	if err := w.nats.StartNode(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	functions := &worker{v: v}
	functions.run(t)
	await(t, "the page has the picture", func() bool { return strings.Contains(string(v.page(t, path)), "<img") })
}

func TestReports(t *testing.T) {
	w := newWorld(t)
	v := w.start(t)
	path, err := v.join("Mallory", photo())
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(path, "/members/")
	send := func(subject, text string) {
		t.Helper()
		queue, done, err := v.queue.use()
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		if _, err := queue.js.Publish(t.Context(), subject, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{`no JSON`, `[]`, `{"id": 7}`, `{"id": "nobody", "picture": "p"}`, `{"id": "` + id + `"}`, `{"picture": "p"}`} {
		send(subjectReady, text)
	}
	send(subjectReady, `{"id": "`+id+`", "refused": "it has <two> heads"}`)
	await(t, "the refusal is told", func() bool { return strings.Contains(string(v.page(t, path)), "it has &lt;two&gt; heads") })
	send(subjectDead, `{"id": "`+id+`", "photograph": "photographs/`+id+`"}`)
	await(t, "the failure is told", func() bool { return strings.Contains(string(v.page(t, path)), unmade) })
	await(t, "all reports are gone from the queue", func() bool {
		queue, done, err := v.queue.use()
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		consumer, err := queue.js.Consumer(t.Context(), stream, reports)
		if err != nil {
			t.Fatal(err)
		}
		info, err := consumer.Info(t.Context())
		return err == nil && info.NumPending == 0 && info.NumAckPending == 0
	})
}
