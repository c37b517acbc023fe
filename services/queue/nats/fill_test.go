package nats

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fill makes one of everything that JetStream keeps, and returns what compares it.
func fill(t *testing.T, mine map[string]any) func(t *testing.T, theirs map[string]any) {
	c := dialled(t, mine)
	fillOrders(t, c)
	fillBuckets(t, c)
	want := everythingOf(t, c)
	return func(t *testing.T, theirs map[string]any) {
		got := everythingOf(t, dialled(t, theirs))
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("the restored streams differ (-want +got):\n%s", diff)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// fillOrders makes a stream with gaps, headers and a consumer that acknowledged some messages.
func fillOrders(t *testing.T, c *client) {
	ctx := testContext(t)
	orders := must[jetstream.Stream](t)(c.stream.CreateStream(ctx, jetstream.StreamConfig{
		Name: "ORDERS", Description: "who ordered what", Subjects: []string{"orders.>"}, Compression: jetstream.S2Compression,
		Metadata: map[string]string{"team": "sales"}, Duplicates: time.Second,
	}))
	for i := range 50 {
		m := &nats.Msg{Subject: fmt.Sprintf("orders.%d", i), Data: bytes.Repeat([]byte{byte(i)}, 4000), Header: nats.Header{"X-Order": {"a", "ü"}}}
		must[*jetstream.PubAck](t)(c.stream.PublishMsg(ctx, m))
	}
	for _, seq := range []uint64{1, 2, 17, 49, 50} {
		if err := orders.DeleteMsg(ctx, seq); err != nil {
			t.Fatal(err)
		}
	}
	worker := must[jetstream.Consumer](t)(orders.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, FilterSubject: "orders.>",
	}))
	batch := must[jetstream.MessageBatch](t)(worker.Fetch(10))
	for m := range batch.Messages() {
		if meta := must[*jetstream.MsgMetadata](t)(m.Metadata()); meta.Sequence.Consumer <= 6 {
			if err := m.DoubleAck(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	must[jetstream.Consumer](t)(orders.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: "passing", InactiveThreshold: time.Minute}))
}

// fillBuckets makes a key-value bucket, an object store and a stream in memory.
func fillBuckets(t *testing.T, c *client) {
	ctx := testContext(t)
	kv := must[jetstream.KeyValue](t)(c.stream.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "settings", History: 3}))
	for i := range 5 {
		must[uint64](t)(kv.PutString(ctx, "colour", fmt.Sprint("shade ", i)))
	}
	must[uint64](t)(kv.PutString(ctx, "gone", "x"))
	if err := kv.Delete(ctx, "gone"); err != nil {
		t.Fatal(err)
	}
	objects := must[jetstream.ObjectStore](t)(c.stream.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "files"}))
	must[*jetstream.ObjectInfo](t)(objects.Put(ctx, jetstream.ObjectMeta{
		Name: "../../etc/passwd", Opts: &jetstream.ObjectMetaOptions{ChunkSize: 30_000},
	}, bytes.NewReader(bytes.Repeat([]byte("object"), 20_000))))
	must[jetstream.Stream](t)(c.stream.CreateStream(ctx, jetstream.StreamConfig{
		Name: "MEMORY", Subjects: []string{"memory"}, Storage: jetstream.MemoryStorage, Retention: jetstream.WorkQueuePolicy,
	}))
	for range 10 {
		must[*jetstream.PubAck](t)(c.stream.Publish(ctx, "memory", []byte("remember")))
	}
}

// streamSummary is what an application can see of a stream.
type streamSummary struct {
	Config    jetstream.StreamConfig
	State     jetstream.StreamState
	Consumers map[string]consumerSummary
	Messages  []string
}

type consumerSummary struct {
	Config      jetstream.ConsumerConfig
	AckFloor    uint64
	Pending     uint64
	Outstanding int
}

func everythingOf(t *testing.T, c *client) map[string]streamSummary {
	t.Helper()
	ctx := testContext(t)
	found := map[string]streamSummary{}
	list := c.stream.ListStreams(ctx)
	for info := range list.Info() {
		if info.Config.Name == probeStream {
			continue // the suite writes to it
		}
		delete(info.Config.Metadata, "_nats.ver")
		delete(info.Config.Metadata, "_nats.level")
		delete(info.Config.Metadata, "_nats.req.level")
		info.State.Consumers, info.State.LastTime = 0, time.Time{} // a deleted last message leaves no time
		s := streamSummary{Config: info.Config, State: info.State, Consumers: map[string]consumerSummary{}}
		stream := must[jetstream.Stream](t)(c.stream.Stream(ctx, info.Config.Name))
		consumers := stream.ListConsumers(ctx)
		for o := range consumers.Info() {
			if o.Config.Durable != "" {
				o.Config.Metadata = nil
				s.Consumers[o.Name] = consumerSummary{o.Config, o.AckFloor.Stream, o.NumPending, o.NumAckPending}
			}
		}
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			m, err := stream.GetMsg(ctx, seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			s.Messages = append(s.Messages, fmt.Sprintf("%d %s %s %v %x", m.Sequence, m.Subject, m.Time, m.Header, sha256.Sum256(m.Data)))
		}
		found[info.Config.Name] = s
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
