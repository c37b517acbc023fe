package nats

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// reach tries to get from one account into another, and into what is the
// operator's.
func reach(t *testing.T, mine, theirs map[string]any) {
	me, them := dialled(t, mine), dialled(t, theirs)
	account := accountOf(t, theirs)
	impersonate(t, mine, theirs)
	listen(t, me, them)
	for _, subject := range systemRequests(account) {
		if answer, err := me.conn.Request(subject, []byte("{}"), 200*time.Millisecond); err == nil {
			t.Errorf("%s was answered: %s", subject, answer.Data)
		}
	}
	// Asking for connections, as one may, tells of one's own account's only.
	answer, err := me.conn.Request("$SYS.REQ.ACCOUNT.PING.CONNZ", []byte(`{"acc": "`+account+`", "auth": true}`), 5*time.Second)
	if err == nil && contains(answer.Data, account) {
		t.Errorf("the connections of another account: %s", answer.Data)
	}
	flood(t, me, them)
	borrow(t, me, account)
}

func accountOf(t *testing.T, credentials map[string]any) string {
	t.Helper()
	claims, err := jwt.DecodeUserClaims(credentials["jwt"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return claims.IssuerAccount
}

func contains(data []byte, text string) bool {
	for i := 0; i+len(text) <= len(data); i++ {
		if string(data[i:i+len(text)]) == text {
			return true
		}
	}
	return false
}

// systemRequests are what only the system account may ask.
func systemRequests(account string) []string {
	return []string{
		pingSubject, updateSubject, deleteSubject, packSubject, streamSubject,
		"$SYS.REQ.CLAIMS.LIST",
		"$SYS.REQ.SERVER.PING.VARZ",
		"$SYS.REQ.SERVER.PING.SUBSZ",
		fmt.Sprintf(lookupSubject, account),
		fmt.Sprintf(clientSubject, account),
		fmt.Sprintf(purgeSubject, account),
		fmt.Sprintf("$SYS.REQ.ACCOUNT.%s.CLAIMS.UPDATE", account),
		fmt.Sprintf("$SYS.REQ.ACCOUNT.%s.INFO", account),
		fmt.Sprintf("$JS.%s.API.STREAM.INFO.%s", account, probeStream),
		fmt.Sprintf("$JS.API.%s.STREAM.INFO.%s", account, probeStream),
		"$JS.API.SERVER.REMOVE",
		"$JS.API.META.LEADER.STEPDOWN",
	}
}

// impersonate connects with one's own keys as somebody else.
func impersonate(t *testing.T, mine, theirs map[string]any) {
	t.Helper()
	myJWT, mySeed, account := mine["jwt"].(string), mine["nkey_seed"].(string), accountOf(t, theirs)
	own, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	user, err := nkeys.FromSeed([]byte(mySeed))
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	forged := func(change func(*jwt.UserClaims)) string {
		claims := jwt.NewUserClaims(public)
		change(claims)
		token, err := claims.Encode(own)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for name, token := range map[string]string{
		"their JWT with my seed":                theirs["jwt"].(string),
		"an account's own user":                 forged(func(*jwt.UserClaims) {}),
		"a user of theirs by a key of mine":     forged(func(c *jwt.UserClaims) { c.IssuerAccount = account }),
		"a user of mine by a key of mine":       forged(func(c *jwt.UserClaims) { c.IssuerAccount = accountOf(t, mine) }),
		"a bearer of theirs by a key of mine":   forged(func(c *jwt.UserClaims) { c.IssuerAccount, c.BearerToken = account, true }),
		"nobody":                                "",
		"my JWT with another's account spliced": splice(myJWT, theirs["jwt"].(string)),
	} {
		conn, err := nats.Connect(mine["uri"].(string), nats.UserJWTAndSeed(token, mySeed), nats.NoReconnect())
		if err == nil {
			conn.Close()
			t.Errorf("%s: was let in", name)
		}
	}
}

// splice puts one JWT's payload between the header and signature of another.
func splice(outer, inner string) string {
	o, i := parts(outer), parts(inner)
	return o[0] + "." + i[1] + "." + o[2]
}

func parts(token string) (p [3]string) {
	n := 0
	for _, c := range token {
		if c == '.' {
			n++
			continue
		}
		p[n] += string(c)
	}
	return p
}

// listen subscribes to everything and hears nothing of another account.
func listen(t *testing.T, me, them *client) {
	t.Helper()
	all, err := me.conn.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = all.Unsubscribe() }()
	if err := me.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := them.conn.Publish("private", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := them.Write(testContext(t), "private", "x"); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := all.NextMsg(100 * time.Millisecond)
		if err != nil {
			return
		}
		if m.Subject == "private" || m.Subject == subject("private") {
			t.Errorf("heard %s of another account", m.Subject)
		}
	}
}

// flood publishes as fast as it can, while the other one goes on to work.
func flood(t *testing.T, me, them *client) {
	t.Helper()
	end := time.Now().Add(200 * time.Millisecond)
	for time.Now().Before(end) {
		_ = me.conn.Publish("flood", make([]byte, 1000)) // may be cut
		_ = me.conn.Publish(subject("secret"), []byte("mine"))
	}
	if err := them.Ping(testContext(t)); err != nil {
		t.Errorf("the other one while it is flooded: %v", err)
	}
}

// borrow makes a stream that wants to take its messages from another account.
// One is all there is of it: a server that deletes two such streams of an account
// at once has a data race of its own, which the race detector sees.
func borrow(t *testing.T, me *client, account string) {
	t.Helper()
	_, err := me.stream.CreateStream(testContext(t), jetstream.StreamConfig{Name: "BORROWED", Sources: []*jetstream.StreamSource{
		{Name: probeStream, External: &jetstream.ExternalStream{APIPrefix: "$JS." + account + ".API", DeliverPrefix: "borrowed"}},
	}})
	if err != nil {
		return
	}
	time.Sleep(200 * time.Millisecond)
	stream, err := me.stream.Stream(testContext(t), "BORROWED")
	if err != nil {
		t.Fatal(err)
	}
	if info := stream.CachedInfo(); info.State.Msgs > 0 {
		t.Errorf("%d messages of another account", info.State.Msgs)
	}
}

// What a binding may do, by its parameters.
func TestPermissions(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("permissions", nil))
	owner := b.bound(t, inst, newBinding(t, inst, "owner", nil))
	ctx := testContext(t)
	if _, err := owner.stream.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.stream.Publish(ctx, "orders.1", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.conn.Subscribe("ask.*", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := owner.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	acts := map[string]func(context.Context, *client) error{
		"publish orders.1":   publish("orders.1"),
		"publish other":      publish("other"),
		"subscribe orders.1": subscribe("orders.1"),
		"subscribe other":    subscribe("other"),
		"subscribe >":        subscribe(">"),
		"request":            request,
		"fetch":              fetch,
		"look":               look,
		"make a stream":      makeStream,
		"delete a stream":    func(ctx context.Context, c *client) error { return c.stream.DeleteStream(ctx, "NONE") },
		"purge a stream":     purgeStream,
		"answer":             answer(owner),
	}
	for _, test := range []struct {
		name    string
		params  BindingParams
		refused []string
	}{
		{"read_write", BindingParams{Role: access.ReadWrite}, nil},
		{"read_only", BindingParams{Role: access.ReadOnly}, []string{
			"publish orders.1", "publish other", "request", "make a stream", "delete a stream", "purge a stream", "answer",
		}},
		{"publish", BindingParams{Role: access.ReadWrite, Publish: []string{"orders.*", "ask.it"}}, []string{
			"publish other", "fetch", "look", "make a stream", "delete a stream", "purge a stream", "answer",
		}},
		{"publish and reading", BindingParams{Role: access.ReadWrite, Publish: []string{"orders.*", "ask.it"}, ReadStreams: true}, []string{
			"publish other", "make a stream", "delete a stream", "purge a stream", "answer",
		}},
		{"subscribe", BindingParams{Role: access.ReadWrite, Subscribe: []string{"orders.>", "answer"}}, []string{
			"subscribe other", "subscribe >", "fetch", "look", "make a stream", "delete a stream", "purge a stream",
		}},
		{"both", BindingParams{Role: access.ReadWrite, Publish: []string{"other"}, Subscribe: []string{"answer"}}, []string{
			"publish orders.1", "subscribe orders.1", "subscribe other", "subscribe >", "request", "fetch", "look",
			"make a stream", "delete a stream", "purge a stream", "answer",
		}},
		{"both with respond", BindingParams{Role: access.ReadWrite, Publish: []string{"other"}, Subscribe: []string{"answer"}, Respond: true}, []string{
			"publish orders.1", "subscribe orders.1", "subscribe other", "subscribe >", "request", "fetch", "look",
			"make a stream", "delete a stream", "purge a stream",
		}},
		{"both with a consumer", BindingParams{
			Role: access.ReadWrite, Subscribe: []string{"nothing"},
			Publish: []string{"$JS.API.STREAM.INFO.ORDERS", "$JS.API.CONSUMER.CREATE.ORDERS.>", "$JS.API.CONSUMER.MSG.NEXT.ORDERS.*", "$JS.ACK.ORDERS.>"},
		}, []string{
			"publish orders.1", "publish other", "subscribe orders.1", "subscribe other", "subscribe >", "request",
			"make a stream", "delete a stream", "purge a stream", "answer",
		}},
		{"read_only with subjects", BindingParams{Role: access.ReadOnly, Subscribe: []string{"orders.>", "answer"}}, []string{
			"publish orders.1", "publish other", "subscribe other", "subscribe >", "request", "fetch", "look",
			"make a stream", "delete a stream", "purge a stream", "answer",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bd := newBinding(t, inst, test.name, func(p *BindingParams) { *p = test.params })
			if err := bd.Params.Validate(); err != nil {
				t.Fatal(err)
			}
			credentials, err := servicetest.Patient(b).Bind(ctx, inst, bd)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{}
			for _, act := range test.refused {
				want[act] = true
			}
			for name, act := range acts {
				c := dialled(t, credentials.Values)
				err := c.during(ctx, func(ctx context.Context) error { return act(ctx, c) })
				if refused := isRefusal(err); refused != want[name] {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// isRefusal says whether err is a permission that was missing; what else there
// may be, such as a stream that is not there, was not refused.
func isRefusal(err error) bool { return errors.Is(err, nats.ErrPermissionViolation) }

func publish(subject string) func(context.Context, *client) error {
	return func(ctx context.Context, c *client) error {
		if err := c.conn.Publish(subject, []byte("x")); err != nil {
			return err
		}
		return c.flush(ctx)
	}
}

func subscribe(subject string) func(context.Context, *client) error {
	return func(ctx context.Context, c *client) error {
		if _, err := c.conn.SubscribeSync(subject); err != nil {
			return err
		}
		return c.flush(ctx)
	}
}

// flush waits until the server has seen what was sent, and returns what it
// refused of it: a refusal comes before the answer to a ping. The connection has
// served nothing else.
func (c *client) flush(ctx context.Context) error {
	if err := c.conn.FlushWithContext(ctx); err != nil {
		return err
	}
	return c.conn.LastError()
}

func request(ctx context.Context, c *client) error {
	_, err := c.conn.RequestWithContext(ctx, "ask.it", []byte("x"))
	return err
}

func fetch(ctx context.Context, c *client) error {
	consumer, err := c.stream.CreateConsumer(ctx, "ORDERS", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	m, err := consumer.Next(jetstream.FetchContext(ctx))
	if err != nil {
		return err
	}
	return m.DoubleAck(ctx)
}

func look(ctx context.Context, c *client) error {
	_, err := c.stream.Stream(ctx, "ORDERS")
	return err
}

func makeStream(ctx context.Context, c *client) error {
	if _, err := c.stream.CreateStream(ctx, jetstream.StreamConfig{Name: "NEW", Subjects: []string{"new"}}); err != nil {
		return err
	}
	return c.stream.DeleteStream(ctx, "NEW")
}

func purgeStream(ctx context.Context, c *client) error {
	_, err := c.conn.RequestWithContext(ctx, "$JS.API.STREAM.PURGE.NONE", nil)
	return err
}

// answer answers a request of the owner's.
func answer(owner *client) func(context.Context, *client) error {
	return func(ctx context.Context, c *client) error {
		asked, err := c.conn.SubscribeSync("answer")
		if err != nil {
			return err
		}
		if err := c.flush(ctx); err != nil {
			return err
		}
		inbox := owner.conn.NewInbox()
		if err := owner.conn.PublishRequest("answer", inbox, []byte("?")); err != nil {
			return err
		}
		m, err := asked.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		if err := m.Respond([]byte("!")); err != nil {
			return err
		}
		return c.flush(ctx)
	}
}
