package nats

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The server itself bounds what it counts for no account: the IDs of messages, and
// batches that are not committed.
func TestWhatIsNotCounted(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b, ctx := server.backend(t), testContext(t)
	inst := b.provisioned(t, newInstance("uncounted", nil))
	c := b.bound(t, inst, newBinding(t, inst, "b", nil))
	_, err := c.stream.CreateStream(ctx, jetstream.StreamConfig{Name: "IDS", Subjects: []string{"ids"}, MaxMsgs: 1, Duplicates: 365 * 24 * time.Hour})
	expect(t, err, "duplicates window can not be larger then server limit")
	if _, err := c.stream.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "B"}); err != nil {
		t.Errorf("a key-value bucket: %v", err)
	}
	made, err := c.conn.RequestWithContext(ctx, "$JS.API.STREAM.CREATE.BATCHED", []byte(`{"name":"BATCHED","subjects":["batched"],"storage":"file","allow_atomic":true}`))
	if err != nil || strings.Contains(string(made.Data), `"error"`) {
		t.Fatalf("make a stream: %s %v", made.Data, err)
	}
	message := func(sequence int) *nats.Msg {
		return &nats.Msg{Subject: "batched", Data: []byte("x"), Header: nats.Header{"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {strconv.Itoa(sequence)}}}
	}
	if err := c.conn.PublishMsg(message(1)); err != nil {
		t.Fatal(err)
	}
	last := message(2)
	last.Header.Set("Nats-Batch-Commit", "1")
	committed, err := c.conn.RequestMsgWithContext(ctx, last)
	if err != nil || !strings.Contains(string(committed.Data), "batch is too large") {
		t.Errorf("a batch of two messages: %s %v", committed.Data, err)
	}
	if err := b.Ready(ctx); err != nil {
		t.Error(err)
	}
}

// On servers without these limits, Ready reports it, and instances that use more have a
// condition as long as they do.
func TestServersWithoutLimits(t *testing.T) {
	system := newOutside(t, `duplicate_window: "2m"`, "", "batch: { max_inflight_per_stream: 1, max_msgs: 1, timeout: \"1s\" }", "")
	b, ctx := backendOf(t, system), testContext(t)
	expect(t, b.Ready(ctx), "set duplicate_window, batch.max_inflight_per_stream and batch.max_msgs")
	inst := b.provisioned(t, newInstance("unlimited", nil))
	other := b.provisioned(t, newInstance("other", nil))
	c := b.bound(t, inst, newBinding(t, inst, "b", nil))
	config := jetstream.StreamConfig{Name: "IDS", Subjects: []string{"ids"}, MaxMsgs: 1, Duplicates: 365 * 24 * time.Hour}
	if _, err := c.stream.CreateStream(ctx, config); err != nil {
		t.Fatal(err)
	}
	look := func() map[string]services.Condition {
		t.Helper()
		b.seen = map[string]sighting{} // as after lookAge
		conditions, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{other, inst})
		if err != nil {
			t.Fatal(err)
		}
		return conditions
	}
	found := look()
	if len(found) != 1 || found[inst.ID].Reason != services.OverQuota || !strings.Contains(found[inst.ID].Message, "stream IDS: duplicate_window is longer than 2m0s") {
		t.Errorf("conditions: %v", found)
	}
	config.Duplicates = time.Minute
	if _, err := c.stream.UpdateStream(ctx, config); err != nil {
		t.Fatal(err)
	}
	if found := look(); len(found) > 0 {
		t.Errorf("conditions afterwards: %v", found)
	}
}

// Each message that waits for an acknowledgement counts once, whichever servers
// have a copy of its consumer.
func TestUnacknowledged(t *testing.T) {
	reported := func(pending int) report {
		var r report
		text := fmt.Sprintf(`{"account_details":[{"id":"A","stream_detail":[{"name":"S","consumer_detail":[{"name":"c","num_ack_pending":%d},{"name":"d","num_ack_pending":1}]}]},
			{"id":"OTHER","stream_detail":[{"name":"S","consumer_detail":[{"name":"e","num_ack_pending":9000000}]}]}]}`, pending)
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for pending, want := range map[int]string{
		maxUnacknowledged - 1: "",
		maxUnacknowledged:     fmt.Sprintf("consumers: %d messages wait for an acknowledgement", maxUnacknowledged+1),
	} {
		long, unacknowledged := map[string]bool{}, map[string]int64{}
		for range 3 {
			reported(pending).collect("A", long, unacknowledged)
		}
		if got := complaint(long, unacknowledged); (want == "") != (got == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%d: %q, want %q", pending, got, want)
		}
	}
}

// One call examines a bounded number of instances, those first that it has not examined
// for the longest time.
func TestLooksAreBounded(t *testing.T) {
	b := &backend{seen: map[string]sighting{}}
	var all []instance
	for i := range 3*maxLooks + 1 {
		all = append(all, newInstance(fmt.Sprint(i), nil))
	}
	looked := map[string]int{}
	for range 4 {
		due := b.due(all)
		if len(due) > maxLooks {
			t.Errorf("%d instances in one call", len(due))
		}
		for _, inst := range due {
			looked[inst.ID]++
			b.seen[inst.ID] = sighting{at: time.Now()}
		}
	}
	if len(looked) != len(all) || len(b.due(all)) > 0 {
		t.Errorf("%d of %d instances were looked at", len(looked), len(all))
	}
}

// An instance that cannot be examined does not block the others.
func TestLooksGoOnAfterAFault(t *testing.T) {
	b := &backend{seen: map[string]sighting{}}
	all := []instance{newInstance("at fault", nil), newInstance("first", nil), newInstance("second", nil)}
	looked := map[string]bool{}
	for range 2 {
		_ = b.look(b.due(all), func(inst instance) (string, error) {
			if inst.ID == "at fault" {
				return "", errNonsense
			}
			looked[inst.ID] = true
			return "", nil
		})
	}
	if len(looked) != 2 {
		t.Errorf("only these were looked at: %v", looked)
	}
}
