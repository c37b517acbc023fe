package feed_test

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/chandler-broker/chandler/functions/feed"
)

// A binding that may only read is sufficient, and leaves no consumer behind.
func TestReadOnlyBinding(t *testing.T) {
	q := newQueued(t)
	f := &firer{}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.bind(t, "reader", `{"role": "read_only"}`), nil))
	q.app.publish("orders.new", "1", nil)
	q.app.acknowledged(1)
	r.do("DELETE", messaging, "t", nil)
	eventually(t, "no consumer", func() bool { return len(q.app.consumers("ORDERS")) == 0 && q.count(t, "feeds") == 0 })
}

// CREATE and UPDATE refuse invalid parameters.
func TestMessageRefusals(t *testing.T) {
	q := newQueued(t)
	q.trigger(t, "other")
	revoked := q.bind(t, "revoked", `{}`)
	q.unbind(t, "revoked")
	dark := map[string]any{}
	for key, value := range q.credentials {
		dark[key] = value
	}
	dark["servers"] = "nats://127.0.0.1:1"
	r := q.start(t, &firer{}, nil)
	r.do("CREATE", messaging, "other", listening(q.credentials, nil))
	for _, test := range []struct {
		name, verb, trigger string
		parameters          map[string]any
		words               string
	}{
		{"no credentials", "CREATE", "t", map[string]any{"stream": "ORDERS"}, "nats trigger feed is missing the credentials parameter"},
		{"credentials as text", "CREATE", "t", listening(nil, map[string]any{"credentials": "secret"}), "the credentials parameter must be an object"},
		{"no seed", "CREATE", "t", map[string]any{"stream": "ORDERS", "jwt": q.credentials["jwt"], "uri": q.URL()}, "the nkey_seed parameter must be"},
		{"no token", "CREATE", "t", map[string]any{"stream": "ORDERS", "jwt": "x", "uri": q.URL()}, "the jwt parameter must be"},
		{"no stream", "CREATE", "t", map[string]any{"credentials": q.credentials}, "missing the stream or the subject parameter"},
		{"no such stream", "CREATE", "t", listening(q.credentials, map[string]any{"stream": "NONE"}), "the stream does not exist"},
		{"no stream of the subject", "CREATE", "t", map[string]any{"credentials": q.credentials, "subject": "bills.>"}, "the stream does not exist"},
		{"revoked credentials", "CREATE", "t", listening(revoked, nil), "the servers refuse the credentials"},
		{"nobody there", "CREATE", "t", listening(dark, nil), "the servers do not answer"},
		{"a server with a user", "CREATE", "t", listening(nil, map[string]any{"credentials": nil, "jwt": q.credentials["jwt"], "nkey_seed": q.credentials["nkey_seed"], "uri": "nats://a:b@127.0.0.1"}), "the servers parameter must be URLs"},
		{"a server of another kind", "CREATE", "t", listening(nil, map[string]any{"credentials": nil, "jwt": q.credentials["jwt"], "nkey_seed": q.credentials["nkey_seed"], "uri": "http://127.0.0.1"}), "the servers parameter must be URLs"},
		{"a stream's name with a wildcard", "CREATE", "t", listening(q.credentials, map[string]any{"stream": "A.>"}), "the stream parameter must be"},
		{"a system subject for letters", "CREATE", "t", listening(q.credentials, map[string]any{"deadLetter": "$JS.API.STREAM.DELETE.ORDERS"}), "the deadLetter parameter must be"},
		{"a wildcard for letters", "CREATE", "t", listening(q.credentials, map[string]any{"deadLetter": "dead.*"}), "the deadLetter parameter must be"},
		{"too many in flight", "CREATE", "t", listening(q.credentials, map[string]any{"maxInFlight": 65}), "the maxInFlight parameter must be an integer from 1 to 64"},
		{"twice", "CREATE", "other", listening(q.credentials, nil), "has a feed already"},
		{"nothing to change", "UPDATE", "other", nil, "no updatable parameters were specified"},
		{"another stream", "UPDATE", "other", map[string]any{"stream": "BILLS"}, "stream, durable and deliver cannot be changed"},
		{"revoked credentials instead", "UPDATE", "other", map[string]any{"credentials": revoked}, "the servers refuse the credentials"},
		{"an alarm", "READ", "t", nil, "could not find trigger"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := r.ask(messaging, with(test.verb, test.trigger, test.parameters))
			got := refusal(t, err)
			if !strings.Contains(got, test.words) {
				t.Errorf("%q, want %q", got, test.words)
			}
			if found := leaked(q.credentials, got); found != nil {
				t.Errorf("%q holds %v", got, found)
			}
		})
	}
	eventually(t, "only the one feed is left", func() bool { return q.count(t, "feeds") == 1 && len(q.app.consumers("ORDERS")) == 1 })
	_, err := r.ask("alarms/once", with("READ", "other", nil))
	if got := refusal(t, err); !strings.Contains(got, "could not find trigger") {
		t.Errorf("READ as an alarm: %q", got)
	}
}

// An operator names the servers that feeds may connect to.
func TestServersAreNamed(t *testing.T) {
	q := newQueued(t)
	r := q.start(t, &firer{}, func(o *feed.Options) { o.Servers = []string{"queue.example.com:4222"} })
	_, err := r.ask(messaging, with("CREATE", "t", listening(q.credentials, nil)))
	if got := refusal(t, err); !strings.Contains(got, "is not one that feeds may connect to") {
		t.Errorf("%q", got)
	}
	named := q.start(t, &firer{}, func(o *feed.Options) { o.Servers = []string{strings.TrimPrefix(q.URLs()[0], "nats://")} })
	named.do("CREATE", messaging, "t", listening(q.credentials, nil))

	// A feed that there is listens no longer where its server is not named any more.
	named.stop()
	unnamed := q.start(t, &firer{}, func(o *feed.Options) { o.Servers = nil })
	eventually(t, "READ tells", func() bool {
		message, _ := unnamed.status(messaging, "t")["message"].(string)
		return strings.Contains(message, "is not one that feeds may connect to")
	})
}

// Credentials never appear in plain text in a table, an answer or a log.
func TestCredentialsAreSealed(t *testing.T) {
	q := newQueued(t)
	var log strings.Builder
	var mu sync.Mutex
	r := q.start(t, &firer{}, func(o *feed.Options) { o.Logger = slog.New(slog.NewTextHandler(locked{&mu, &log}, nil)) })
	r.do("CREATE", messaging, "t", listening(q.credentials, nil))
	if found := leaked(q.credentials, fmt.Sprint(r.do("READ", messaging, "t", nil))); found != nil {
		t.Errorf("READ shows %v", found)
	}
	var row string
	if err := q.store.Pool.QueryRow(t.Context(), "select feeds::text || encode(sealed, 'escape') from feeds").Scan(&row); err != nil {
		t.Fatal(err)
	}
	if found := leaked(q.credentials, row); found != nil {
		t.Errorf("the database shows %v", found)
	}
	q.unbind(t, "trigger")
	eventually(t, "READ tells", func() bool { return r.status(messaging, "t")["message"] != nil })
	r.stop()
	mu.Lock()
	defer mu.Unlock()
	if found := leaked(q.credentials, log.String()); found != nil || log.Len() == 0 {
		t.Errorf("the log shows %v", found)
	}
}

// Feeds ignore the other servers that an allowed server announces.
func TestServersTellOfOthers(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	inside := listen(t) // what the runtime reaches and tenants must not
	reached := make(chan struct{}, 100)
	go serve(inside, func(net.Conn) { reached <- struct{}{} })
	named := listen(t)
	met := make(chan struct{}, 100)
	go serve(named, func(conn net.Conn) {
		// INFO of NATS' client protocol. The server ends the connection at once,
		// so that a client tries the others it knows.
		_, _ = fmt.Fprintf(conn, "INFO {\"server_id\":\"N\",\"version\":\"2.10.0\",\"proto\":1,\"max_payload\":1048576,\"connect_urls\":[%q]}\r\n", inside.Addr())
		met <- struct{}{}
	})
	r := h.start(t, &firer{}, func(o *feed.Options) { o.Servers = []string{named.Addr().String()} })
	_, err := r.ask(messaging, with("CREATE", "t", listening(userOf(t, named.Addr().String()), nil)))
	refusal(t, err)
	if len(met) == 0 {
		t.Error("the server that is named was not asked")
	}
	if len(reached) > 0 {
		t.Error("the server that it told of was connected to")
	}
}

// userOf returns credentials of a NATS user, which any tenant can create.
func userOf(t *testing.T, server string) map[string]any {
	t.Helper()
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.NewUserClaims(public).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"servers": []string{"nats://" + server}, "jwt": token, "nkey_seed": string(seed)}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func serve(l net.Listener, each func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		each(conn)
		_ = conn.Close()
	}
}
