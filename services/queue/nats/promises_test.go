package nats

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// attempts are subjects to publish to: those that JetStream serves for the stream
// VICTIM and its consumer WORKER, those of key-value buckets and object stores,
// the server's own, and an application's.
func attempts(acknowledgement string) []string {
	subjects := []string{
		"orders.1", "orders.approve", "payments.approve", "payments", "ask.it",
		"_INBOX.other", "$KV.B.k", "$O.O.C.x", "$O.O.M.x", "$MQTT.msgs.a",
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.CONSUMER.NAMES.VICTIM", "$JS.API.CONSUMER.LIST.VICTIM",
		"$JS.API.STREAM.CREATE.NEW", "$JS.API.STREAM.UPDATE.VICTIM", "$JS.API.STREAM.INFO.VICTIM",
		"$JS.API.STREAM.DELETE.VICTIM", "$JS.API.STREAM.PURGE.VICTIM", "$JS.API.STREAM.SNAPSHOT.VICTIM", "$JS.API.STREAM.RESTORE.VICTIM",
		"$JS.API.STREAM.MSG.GET.VICTIM", "$JS.API.STREAM.MSG.DELETE.VICTIM", "$JS.API.DIRECT.GET.VICTIM", "$JS.API.DIRECT.GET.VICTIM.victim.1",
		"$JS.API.STREAM.LEADER.STEPDOWN.VICTIM", "$JS.API.STREAM.PEER.REMOVE.VICTIM",
		"$JS.API.CONSUMER.CREATE.VICTIM", "$JS.API.CONSUMER.CREATE.VICTIM.X", "$JS.API.CONSUMER.CREATE.VICTIM.X.victim.>",
		"$JS.API.CONSUMER.DURABLE.CREATE.VICTIM.X", "$JS.API.CONSUMER.INFO.VICTIM.WORKER", "$JS.API.CONSUMER.DELETE.VICTIM.WORKER",
		"$JS.API.CONSUMER.PAUSE.VICTIM.WORKER", "$JS.API.CONSUMER.RESET.VICTIM.WORKER", "$JS.API.CONSUMER.UNPIN.VICTIM.WORKER",
		"$JS.API.CONSUMER.LEADER.STEPDOWN.VICTIM.WORKER", "$JS.API.CONSUMER.MSG.NEXT.VICTIM.WORKER",
		"$JS.ACK.VICTIM.WORKER.1.1.1.1.0", acknowledgement, strings.TrimPrefix(acknowledgement, "$JS.ACK."),
		"$JS.FC.VICTIM.WORKER.x", "$JS.SC.VICTIM", "$JS.SNAPSHOT.ACK.VICTIM.x", "$JS.SNAPSHOT.RESTORE.VICTIM.x", "$JS.M.x", "$JS.S.x",
		"$JS.domain.API.STREAM.MSG.GET.VICTIM", "$JS.EVENT.ADVISORY.API", "$JS.API.ACCOUNT.PURGE.X", "$JS.API.META.LEADER.STEPDOWN",
		"$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.DELETE", "$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.PING",
	}
	return subjects
}

// lists are what random parameters are made of.
var lists = []string{
	"orders.*", "orders.1", "ask.it", "ask.>", "payments", "other.>", "_INBOX.>", "_INBOX.mine.*", "$KV.B.k", "$KV.>", "$O.O.>", "*.approve",
	"$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.MSG.NEXT.VICTIM.WORKER", "$JS.ACK.OTHER.>", "$JS.FC.>", "$SYS.REQ.USER.INFO", ">",
}

func randomParams(r *rand.Rand) BindingParams {
	some := func() []string {
		if r.IntN(3) == 0 {
			return nil
		}
		var list []string
		for _, i := range r.Perm(len(lists))[:1+r.IntN(3)] {
			if lists[i] != ">" || r.IntN(4) == 0 {
				list = append(list, lists[i])
			}
		}
		return list
	}
	return BindingParams{
		Role: []access.Role{access.ReadWrite, access.ReadWrite, access.ReadOnly}[r.IntN(3)], Publish: some(), Subscribe: some(),
		ReadStreams: r.IntN(4) == 0, Respond: r.IntN(3) == 0,
	}
}

// covers says whether a subject is one of a list.
func covers(list []string, subject string) bool {
	return slices.ContainsFunc(list, func(allowed string) bool {
		a, s := strings.Split(allowed, "."), strings.Split(subject, ".")
		for i := range a {
			if a[i] == ">" {
				return len(s) > i
			}
			if i >= len(s) || a[i] != "*" && a[i] != s[i] {
				return false
			}
		}
		return len(a) == len(s)
	})
}

// promised says in the words of the README whether a binding may publish to a
// subject.
func promised(p BindingParams, subject string) bool {
	reads := covers(readingAPI(), subject)
	switch {
	case p.Publish != nil:
		return covers(p.Publish, subject) || p.ReadStreams && reads
	case p.Role == access.ReadOnly:
		return p.Subscribe == nil && reads
	case p.Subscribe != nil:
		return !strings.HasPrefix(subject, "$JS.")
	}
	return true
}

// Whatever the lists say, they hold: against every subject that JetStream and
// the server serve, and against a message that the application sends to itself so
// as to answer it.
func TestPromises(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("promises", func(p *Plan) { p.Connections = 1000 }))
	owner := b.bound(t, inst, newBinding(t, inst, "owner", nil))
	random := rand.New(rand.NewPCG(4711, 42))
	kinds := map[string]int{}
	all := []BindingParams{
		{Role: access.ReadWrite},
		{Role: access.ReadWrite, Publish: []string{"orders.*"}, ReadStreams: true},
		{Role: access.ReadWrite, Publish: []string{"orders.*"}, Subscribe: []string{"ask.it"}, Respond: true},
		{Role: access.ReadWrite, Publish: []string{"ask.it"}, Subscribe: []string{"ask.it"}},
	}
	for len(all) < 50 {
		if p := randomParams(random); p.Validate() == nil {
			all = append(all, p)
		}
	}
	for i, p := range all {
		kinds[fmt.Sprintf("%s publish %t subscribe %t read %t respond %t", p.Role, p.Publish != nil, p.Subscribe != nil, p.ReadStreams, p.Respond)]++
		v := newVictim(t, owner)
		bd := newBinding(t, inst, fmt.Sprintf("b%d", i), func(to *BindingParams) { *to = p })
		credentials, err := servicetest.Patient(b).Bind(testContext(t), inst, bd)
		if err != nil {
			t.Fatal(err)
		}
		a := attack(t, credentials.Values, p, v)
		a.holds(t, p)
		v.holds(t, p, a)
		dialled(t, credentials.Values) // and the credentials still work
		if err := servicetest.Patient(b).Unbind(testContext(t), inst, bd); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("with %+v", p)
		}
	}
	if len(kinds) < 9 {
		t.Errorf("too few kinds of parameters: %v", kinds)
	}
}

const (
	secret = "what only the owner may read"
	marker = "written by the attacker"
	traced = "traced.by.the.attacker"
)

// victim is a stream with a message that a consumer has not acknowledged, and all
// that is heard in the account.
type victim struct {
	owner           *client
	acknowledgement string
	heard           *nats.Subscription
}

func newVictim(t *testing.T, owner *client) *victim {
	t.Helper()
	ctx := testContext(t)
	for _, name := range []string{"VICTIM", "NEW"} {
		_ = owner.stream.DeleteStream(ctx, name) // of the last round
	}
	// The server removes the folder of the stream that was deleted in the background.
	var stream jetstream.Stream
	var err error
	eventually(t, "the stream can be made again", func() bool {
		stream, err = owner.stream.CreateStream(ctx, jetstream.StreamConfig{Name: "VICTIM", Subjects: []string{"victim.>"}, AllowDirect: true})
		return err == nil
	})
	for range 2 {
		if _, err := owner.stream.Publish(ctx, "victim.1", []byte(secret)); err != nil {
			t.Fatal(err)
		}
	}
	worker, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "WORKER", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	m, err := worker.Next()
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{owner: owner, acknowledgement: m.Reply()}
	if v.heard, err = owner.conn.SubscribeSync(">"); err != nil {
		t.Fatal(err)
	}
	if err := owner.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	return v
}

// attacker is what an attack found: what the server refused, and what it told.
type attacker struct {
	mu       sync.Mutex
	refused  []string
	tried    []string
	received []*nats.Msg
}

// attack publishes to everything, with answers to an inbox of its own, and tries
// the same in answer to messages that it sends itself.
func attack(t *testing.T, credentials map[string]any, p BindingParams, v *victim) *attacker {
	t.Helper()
	a := &attacker{tried: attempts(v.acknowledgement)}
	conn, err := nats.Connect(credentials["uri"].(string), nats.UserCredentialBytes([]byte(credentials["creds"].(string))), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			if _, rest, found := strings.Cut(strings.ToLower(err.Error()), "for publish to \""); found {
				refused, _, _ := strings.Cut(rest, "\"")
				a.refused = append(a.refused, refused)
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	listen := func(subject string) {
		_, err := conn.Subscribe(subject, func(m *nats.Msg) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.received = append(a.received, m)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, subject := range append([]string{"_INBOX.attack.>"}, p.Subscribe...) {
		listen(subject)
	}
	payload := map[string]string{
		"$JS.API.CONSUMER.CREATE.VICTIM":                 `{"stream_name":"VICTIM","config":{"deliver_subject":"_INBOX.attack.push","ack_policy":"none"}}`,
		"$JS.API.CONSUMER.CREATE.VICTIM.X":               `{"stream_name":"VICTIM","config":{"name":"X","deliver_subject":"_INBOX.attack.push","ack_policy":"none"}}`,
		"$JS.API.STREAM.MSG.GET.VICTIM":                  `{"seq":1}`,
		"$JS.API.DIRECT.GET.VICTIM":                      `{"seq":1}`,
		"$JS.API.CONSUMER.MSG.NEXT.VICTIM.WORKER":        `1`,
		"$JS.API.STREAM.CREATE.NEW":                      `{"name":"NEW","subjects":["new"],"sources":[{"name":"VICTIM"}],"republish":{"src":">","dest":"_INBOX.attack.republished"}}`,
		"$JS.domain.API.STREAM.MSG.GET.VICTIM":           `{"seq":1}`,
		"$JS.API.CONSUMER.DURABLE.CREATE.VICTIM.X":       `{"stream_name":"VICTIM","config":{"durable_name":"X","deliver_subject":"_INBOX.attack.push","ack_policy":"none"}}`,
		"$JS.API.CONSUMER.CREATE.VICTIM.X.victim.>":      `{"stream_name":"VICTIM","config":{"name":"X","filter_subject":"victim.>","deliver_subject":"_INBOX.attack.push"}}`,
		"$JS.ACK.VICTIM.WORKER.1.1.1.1.0":                `+NXT`,
		v.acknowledgement:                                `+TERM`,
		"$JS.API.STREAM.SNAPSHOT.VICTIM":                 `{"deliver_subject":"_INBOX.attack.snapshot"}`,
		"$JS.API.STREAM.MSG.DELETE.VICTIM":               `{"seq":1}`,
		"$JS.API.STREAM.UPDATE.VICTIM":                   `{"name":"VICTIM","subjects":["victim.>"],"republish":{"src":">","dest":"_INBOX.attack.republished"}}`,
		"$JS.API.CONSUMER.PAUSE.VICTIM.WORKER":           `{"pause_until":"2100-01-01T00:00:00Z"}`,
		"$JS.API.CONSUMER.RESET.VICTIM.WORKER":           `{}`,
		"$JS.API.CONSUMER.LEADER.STEPDOWN.VICTIM.WORKER": `{}`,
	}
	for i, subject := range a.tried {
		data := payload[subject]
		if data == "" {
			data = marker
		}
		m := &nats.Msg{Subject: subject, Reply: fmt.Sprintf("_INBOX.attack.%d", i), Data: []byte(data), Header: nats.Header{"Nats-Trace-Dest": {traced}}}
		if err := conn.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	// Messages to itself, each of which asks for an answer on a subject that it
	// might not publish to.
	for _, target := range a.tried {
		for _, to := range append([]string{"_INBOX.attack.self", "$JS.ACK.self", "$JS.FC.self"}, literals(p.Publish)...) {
			_ = conn.PublishMsg(&nats.Msg{Subject: to, Reply: target, Data: []byte(marker)})
		}
	}
	_ = conn.Flush()
	time.Sleep(20 * time.Millisecond)
	for _, target := range a.tried {
		data := payload[target]
		if data == "" {
			data = marker
		}
		_ = conn.PublishMsg(&nats.Msg{Subject: target, Reply: "_INBOX.attack.answered", Data: []byte(data)})
	}
	_ = conn.Flush()
	time.Sleep(50 * time.Millisecond)
	return a
}

// literals are the subjects of a list with their wildcards filled in.
func literals(list []string) []string {
	var all []string
	for _, s := range list {
		all = append(all, strings.NewReplacer("*", "approve", ">", "x").Replace(s))
	}
	return all
}

// holds compares what the server refused with what was promised.
func (a *attacker) holds(t *testing.T, p BindingParams) {
	t.Helper()
	for _, subject := range a.tried {
		refused := slices.Contains(a.refused, strings.ToLower(subject))
		if refused == promised(p, subject) {
			t.Errorf("publish to %s: refused: %t", subject, refused)
		}
	}
}

// holds looks for what an attack did.
func (v *victim) holds(t *testing.T, p BindingParams, a *attacker) {
	t.Helper()
	_ = v.owner.conn.Flush()
	// Who reads a stream that it writes to may have the servers deliver anywhere.
	relays := p.ReadStreams || slices.ContainsFunc(p.Publish, func(s string) bool { return overlap(s, streams) })
	for !relays {
		m, err := v.heard.NextMsg(10 * time.Millisecond)
		if err != nil {
			break
		}
		if (string(m.Data) == marker || m.Subject == traced) && !promised(p, m.Subject) {
			t.Errorf("the attacker's message came to %s", m.Subject)
		}
	}
	_ = v.heard.Unsubscribe()
	if slices.ContainsFunc(a.tried, func(s string) bool { return strings.HasPrefix(s, "$JS.") && promised(p, s) }) {
		return // it may reach streams
	}
	for _, m := range a.received {
		if text := string(m.Data); strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
			t.Errorf("read from the stream: %s", m.Subject)
		}
	}
	stream, err := v.owner.stream.Stream(testContext(t), "VICTIM")
	if err != nil {
		t.Fatal(err)
	}
	worker, err := stream.Consumer(testContext(t), "WORKER")
	if err != nil {
		t.Fatal(err)
	}
	info := worker.CachedInfo()
	if info.NumAckPending != 1 || info.NumPending != 1 || info.Paused || stream.CachedInfo().State.Msgs != 2 {
		t.Errorf("the consumer was changed: %+v, stream %+v", info, stream.CachedInfo().State)
	}
}
