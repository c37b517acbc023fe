package nats

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
)

// snapshotEntry is an entry of a forged snapshot.
type snapshotEntry struct {
	header archive.Header
	body   string
}

func forged(t *testing.T, entries ...snapshotEntry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := archive.NewWriter(&buf)
	for _, e := range entries {
		e.header.PayloadSize = int64(len(e.body))
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

func entry(name string, seq uint64, body string) snapshotEntry {
	return snapshotEntry{archive.Header{Name: name, Sequence: seq, Timestamp: int64(seq)}, body}
}

// A snapshot that an application changed on its way is refused, before a server reads it.
func TestForgedSnapshot(t *testing.T) {
	state := entry("state.json", 0, `{"messages": 2, "first_seq": 1, "last_seq": 3, "consumer_count": 0}`)
	with := func(consumer, body string) []snapshotEntry {
		return []snapshotEntry{entry("state.json", 0, `{"first_seq": 1, "last_seq": 3, "consumer_count": 1}`), entry(consumer, 0, body), {}}
	}
	for name, test := range map[string]struct {
		entries []snapshotEntry
		fault   string
	}{
		"as a server makes it":           {[]snapshotEntry{state, entry("a.b", 1, "x"), entry("a", 3, ""), {}}, ""},
		"a line break in a subject":      {[]snapshotEntry{state, entry("a\r\nPUB evil 0\r\n", 1, "x"), {}}, "invalid subject"},
		"a blank in a subject":           {[]snapshotEntry{state, entry("a b", 1, "x"), {}}, "invalid subject"},
		"a wildcard in a subject":        {[]snapshotEntry{state, entry("a.>", 1, "x"), {}}, "invalid subject"},
		"an empty token in a subject":    {[]snapshotEntry{state, entry("a..b", 1, "x"), {}}, "invalid subject"},
		"no subject":                     {[]snapshotEntry{state, entry("", 1, "x"), {}}, "invalid subject"},
		"a sequence twice":               {[]snapshotEntry{state, entry("a", 1, "x"), entry("a", 1, "x"), {}}, "out of order"},
		"a sequence behind the last":     {[]snapshotEntry{state, entry("a", 1<<60, "x"), {}}, "out of order"},
		"no mark of the end":             {[]snapshotEntry{state, entry("a", 1, "x")}, "truncated"},
		"more after the end":             {[]snapshotEntry{state, {}, entry("a", 1, "x")}, "does not end"},
		"no state":                       {[]snapshotEntry{entry("a", 1, "x"), {}}, "state"},
		"nothing":                        {nil, "truncated"},
		"a consumer that leaves":         {with("consumers/../../x", `{"config": {"durable_name": "../../x"}, "state": {}}`), "invalid name"},
		"a consumer of another name":     {with("consumers/a", `{"config": {"durable_name": "b"}, "state": {}}`), "invalid name"},
		"fewer consumers than it says":   {with("a", "x"), "fewer consumers"},
		"a consumer that is not JSON":    {with("consumers/a", `{`), "invalid consumer"},
		"a consumer without a long life": {with("consumers/a", `{"config": {"name": "a"}, "state": {}}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := newStreamContents(json.RawMessage(`{"name": "S"}`))
			if err != nil {
				t.Fatal(err)
			}
			err = transcode(bytes.NewReader(forged(t, test.entries...)), io.Discard, int64(maxPayload), found)
			if test.fault == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)) {
				t.Errorf("error: %v, want %q", err, test.fault)
			}
		})
	}
	for _, name := range []string{"", "../x", "a/b", `a\b`, "a.b", "*", "a b", "a\n", strings.Repeat("a", 256)} {
		if validName(name) {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

// The broker's own user can copy one stream and nothing else, and an application that answers in
// the server's place gains nothing.
func TestVisitor(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b, ctx := server.backend(t), testContext(t)
	inst := b.provisioned(t, newInstance("visited", nil))
	app := b.bound(t, inst, newBinding(t, inst, "b", nil))
	if err := app.Write(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	v, err := b.visit(ctx, inst.Name, 0, snapshotSubject+probeStream)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	for _, subject := range []string{"orders", "$JS.API.STREAM.DELETE." + probeStream, snapshotSubject + "OTHER", "$SYS.REQ.SERVER.PING", restoreSubject + probeStream} {
		if err := v.send(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if m, err := v.next(ctx, 200*time.Millisecond); err == nil {
			t.Errorf("%s: answer %q", subject, m.Data)
		}
	}
	sub, err := v.conn.SubscribeSync("orders")
	if err != nil {
		t.Fatal(err)
	}
	if err := app.conn.Publish("orders", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	if m, err := sub.NextMsg(200 * time.Millisecond); err == nil {
		t.Errorf("received %q", m.Data)
	}
}

// An application that sees the copy of its stream can change it, but not make the broker believe
// in sequences that the stream does not have.
func TestForgedOnItsWay(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b, ctx := server.backend(t), testContext(t)
	inst := b.provisioned(t, newInstance("forger", nil))
	app := b.bound(t, inst, newBinding(t, inst, "b", nil))
	if err := app.Write(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	_, err := app.conn.Subscribe(snapshotSubject+probeStream, func(m *nats.Msg) {
		var request struct {
			Subject string `json:"deliver_subject"`
		}
		if json.Unmarshal(m.Data, &request) == nil {
			_ = app.conn.Publish(request.Subject, []byte("\xff\x06\x00\x00S2sTwO forged"))
			_ = app.conn.Publish(request.Subject, nil)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err = b.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: io.Discard})
	t.Logf("backup: %v", err) // who was first is chance
	a, err := b.account(ctx, inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	before, err := a.streams(ctx)
	if err != nil || len(before) != 1 {
		t.Fatalf("streams: %v, %v", before, err)
	}
	for _, s := range []streamState{{First: 1, Last: 1 << 60}, {First: 5, Last: 1}, {First: 0, Last: 1}} {
		if a.unforged(ctx, before, map[string]streamState{probeStream: s}) == nil {
			t.Errorf("%+v was believed", s)
		}
	}
}

// A plan that is too small for a copy, and what is no copy, is refused before anything is made.
func TestRestoreRefuses(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b, ctx := server.backend(t), testContext(t)
	source := b.provisioned(t, newInstance("source", func(p *Plan) { p.Memory = services.Megabyte }))
	app := b.bound(t, source, newBinding(t, source, "b", nil))
	for i := range 3 {
		stream := must[jetstream.Stream](t)(app.stream.CreateStream(ctx, jetstream.StreamConfig{
			Name: fmt.Sprint("S", i), Subjects: []string{fmt.Sprint("s", i)}, Storage: jetstream.StorageType(i % 2),
		}))
		for j := range 3 {
			must[jetstream.Consumer](t)(stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: fmt.Sprint("c", j)}))
		}
		must[*jetstream.PubAck](t)(app.stream.Publish(ctx, fmt.Sprint("s", i), make([]byte, 600_000)))
	}
	var stream bytes.Buffer
	contents, err := b.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: source, Writer: &stream})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Plan)
		fault  string
	}{
		"storage":   {func(p *Plan) { p.Storage = services.Megabyte }, "streams on disk"},
		"memory":    {func(p *Plan) { p.Memory = 0 }, "streams in memory"},
		"streams":   {func(p *Plan) { p.Streams = 2 }, "3 streams"},
		"consumers": {func(p *Plan) { p.Consumers = 2 }, "3 consumers"},
		"payload":   {func(p *Plan) { p.Payload = services.Kilobyte }, "payload"},
	} {
		t.Run(name, func(t *testing.T) {
			target := b.provisioned(t, newInstance(name, func(p *Plan) { p.Memory = services.Megabyte; test.change(p) }))
			for _, honest := range []bool{true, false} {
				c := contents
				if !honest { // the description lies: the server refuses
					c.Details = json.RawMessage(`{}`)
				}
				err := b.restoreInto(ctx, target, c, stream.Bytes())
				message, rejected := services.IsRejected(err)
				if err == nil || honest && (!rejected || !strings.Contains(message, test.fault)) {
					t.Errorf("honest: %v: %v, want a rejection with %q", honest, err, test.fault)
				}
			}
		})
	}
	target := b.provisioned(t, newInstance("target", func(p *Plan) { p.Memory = services.Megabyte }))
	for name, file := range map[string]string{"a foreign file": "../../etc/passwd", "a part without its stream": partFile(1, 1), "a stream out of order": streamFile(2)} {
		var foreign bytes.Buffer
		w := tar.NewWriter(&foreign)
		if err := w.WriteHeader(&tar.Header{Name: file, Size: 0}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		expect(t, b.restoreInto(ctx, target, contents, foreign.Bytes()), "unexpected file")
		_ = name
	}
	if err := b.restoreInto(ctx, target, contents, append(stream.Bytes(), "more"...)); err == nil {
		t.Error("a copy that goes on after its end was restored")
	}
}

func (b *backend) restoreInto(ctx context.Context, inst instance, c services.Contents, stream []byte) error {
	_, err := b.Restore(ctx, services.RestoreRequest[Plan, InstanceParams]{Instance: inst, Contents: c, Reader: bytes.NewReader(stream)})
	return err
}

// An instance that uses all its connections learns why it is not copied.
func TestNoConnectionLeft(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b, ctx := server.backend(t), testContext(t)
	inst := b.provisioned(t, newInstance("busy", func(p *Plan) { p.Connections = 1 }))
	app := b.bound(t, inst, newBinding(t, inst, "b", nil))
	if err := app.Write(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	_, err := b.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: io.Discard})
	expect(t, err, "all connections of its plan")
}

// A store that is slow, and one that is away for longer than the servers wait, does not end a copy.
func TestSlowStore(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b, ctx := server.backend(t), testContext(t)
	inst := b.provisioned(t, newInstance("slow", func(p *Plan) { p.Storage = 64 * services.Megabyte }))
	app := b.bound(t, inst, newBinding(t, inst, "b", nil))
	must[jetstream.Stream](t)(app.stream.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}))
	noise := []byte(strings.Repeat("0123456789abcdef", 6000))
	for i := range 150 {
		noise = append(noise[16:], fmt.Sprintf("%016x", i*0x9e3779b97f4a7c)...)
		must[*jetstream.PubAck](t)(app.stream.Publish(ctx, "s", noise))
	}
	var stream bytes.Buffer
	contents, err := b.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: &sleepy{w: &stream, after: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	target := b.provisioned(t, newInstance("target", func(p *Plan) { p.Storage = 64 * services.Megabyte }))
	_, err = b.Restore(ctx, services.RestoreRequest[Plan, InstanceParams]{Instance: target, Contents: contents, Reader: &sleepy{r: &stream, after: 1 << 20}})
	if err != nil {
		t.Error(err)
	}
}

// sleepy is a store that is away once, for longer than the servers wait.
type sleepy struct {
	w     io.Writer
	r     io.Reader
	after int
}

func (s *sleepy) count(n int) {
	if s.after > 0 && s.after <= n {
		time.Sleep(8 * time.Second)
	}
	s.after -= n
}

func (s *sleepy) Write(p []byte) (int, error) { s.count(len(p)); return s.w.Write(p) }

func (s *sleepy) Read(p []byte) (int, error) { s.count(len(p)); return s.r.Read(p) }

// A copy of a cluster's replicated streams is restored to one server, and one of that server to the cluster.
func TestCopyToAnotherCluster(t *testing.T) {
	ctx := testContext(t)
	cluster := newServer(t, embedded.NATSOptions{Nodes: 3}).backend(t)
	single := newServer(t, embedded.NATSOptions{}).backend(t)
	source := cluster.provisioned(t, newInstance("source", nil))
	app := cluster.bound(t, source, newBinding(t, source, "b", nil))
	stream := must[jetstream.Stream](t)(app.stream.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3}))
	worker := must[jetstream.Consumer](t)(stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy}))
	for range 20 {
		must[*jetstream.PubAck](t)(app.stream.Publish(ctx, "s", make([]byte, 1000), jetstream.WithRetryAttempts(20)))
	}
	batch := must[jetstream.MessageBatch](t)(worker.Fetch(10))
	n := 0
	for m := range batch.Messages() {
		if n++; n <= 4 {
			if err := m.DoubleAck(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := services.Contents{}
	from, inst := cluster, source
	for i, to := range []*backend{single, cluster} {
		var data bytes.Buffer
		contents, err := from.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: &data})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && contents.Digest != want.Digest {
			t.Errorf("the copy of the restored instance has other contents: %+v, want %+v", contents, want)
		}
		want = contents
		target := to.provisioned(t, newInstance(fmt.Sprint("target ", i), nil))
		if err := to.restoreInto(ctx, target, contents, data.Bytes()); err != nil {
			t.Fatal(err)
		}
		restored := to.bound(t, target, newBinding(t, target, "b", nil))
		consumer := must[jetstream.Consumer](t)(restored.stream.Consumer(ctx, "S", "worker"))
		info := must[*jetstream.ConsumerInfo](t)(consumer.Info(ctx))
		if info.AckFloor.Stream != 4 {
			t.Errorf("acknowledged up to %d", info.AckFloor.Stream)
		}
		from, inst = to, target
	}
}
