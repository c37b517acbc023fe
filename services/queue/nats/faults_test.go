package nats

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// opened is a backend with a changed configuration.
func (s *testServer) opened(t *testing.T, change map[string]any) *servicetest.Driver {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal(s.config(s.address()), &config); err != nil {
		t.Fatal(err)
	}
	for key, value := range change {
		config[key] = value
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := servicetest.Open(t.Context(), Definition(), raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return driver
}

// What an operator sees whose broker cannot do its work.
func TestReadySaysWhatIsWrong(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("tenant", nil))
	tenant, err := servicetest.Patient(b).Bind(testContext(t), inst, newBinding(t, inst, "b", nil))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := stranger.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change map[string]any
		words  string
	}{
		{"nothing", nil, ""},
		{"another operator's key", map[string]any{"operator_seed": string(seed)}, "operator_seed must be of a key that their operator's JWT names"},
		{"a tenant's credentials", map[string]any{"system_creds": tenant.Values["creds"]}, "are system_creds those of the system account"},
		{"another system's credentials", map[string]any{"system_creds": newServer(t, embedded.NATSOptions{}).creds}, "it refuses system_creds"},
		{"nobody there", map[string]any{"url": "nats://127.0.0.1:1"}, "connect to the server"},
		{"one of two there", map[string]any{"url": "nats://127.0.0.1:1," + server.URL()}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := server.opened(t, test.change).Ready(testContext(t))
			if test.words == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			expect(t, err, test.words)
			if strings.Contains(err.Error(), string(seed)) || strings.Contains(err.Error(), tenant.Values["nkey_seed"].(string)) {
				t.Error("the error holds a secret")
			}
		})
	}
}

// A server that hangs or is not NATS costs a call some seconds. It is not the user's fault.
func TestServersThatAnswerNonsense(t *testing.T) {
	t.Parallel()
	server := newServer(t, embedded.NATSOptions{})
	for name, says := range map[string]string{
		"nothing":        "",
		"another's":      "220 smtp.example.com ESMTP\r\n",
		"broken NATS":    "INFO {\"server_id\":\r\n",
		"an endless one": strings.Repeat("x", 1<<20),
	} {
		address := servicetest.Listen(t, func(c net.Conn) {
			servicetest.Says(says)(c)
			servicetest.Hangs(c)
		})
		for verb, call := range map[string]func(context.Context, *servicetest.Driver) error{
			"ready": func(ctx context.Context, d *servicetest.Driver) error { return d.Ready(ctx) },
			"provision": func(ctx context.Context, d *servicetest.Driver) error {
				return d.Provision(ctx, d.Instance("i", nil, nil))
			},
			"deprovision": func(ctx context.Context, d *servicetest.Driver) error {
				return d.Deprovision(ctx, d.Instance("i", nil, nil))
			},
		} {
			t.Run(name+" "+verb, func(t *testing.T) {
				t.Parallel()
				driver, ctx := server.opened(t, map[string]any{"url": "nats://" + address}), testContext(t)
				err := call(ctx, driver)
				if _, rejected := services.IsRejected(err); err == nil || rejected {
					t.Errorf("%v", err)
				}
				if ctx.Err() != nil {
					t.Error("the call took all of its time")
				}
			})
		}
	}
}

// A server that falls silent in the middle is given up after some seconds, and
// the connection with it, so that the next call finds another way.
func TestServerFallsSilent(t *testing.T) {
	t.Parallel()
	server := newServer(t, embedded.NATSOptions{})
	proxy := servicetest.NewProxy(t, server.address())
	driver := server.opened(t, map[string]any{"url": "nats://" + proxy.Address(), "servers": server.URL()})
	if err := driver.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	proxy.Freeze()
	ctx := testContext(t)
	if err := driver.Ready(ctx); err == nil {
		t.Error("ready without an answer")
	}
	if ctx.Err() != nil {
		t.Error("the call took all of its time")
	}
	proxy.Thaw()
	if err := driver.Ready(testContext(t)); err != nil {
		t.Errorf("ready again: %v", err)
	}
}

// The broker's connection is made anew after the server was restarted, which
// keeps accounts, streams and revocations.
func TestServerRestarts(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("restart", nil))
	kept, gone := newBinding(t, inst, "kept", nil), newBinding(t, inst, "gone", nil)
	credentials, err := servicetest.Patient(b).Bind(testContext(t), inst, kept)
	if err != nil {
		t.Fatal(err)
	}
	b.bound(t, inst, gone).works(t)
	goneCredentials, err := servicetest.Patient(b).Bind(testContext(t), inst, gone)
	if err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Unbind(testContext(t), inst, gone); err != nil {
		t.Fatal(err)
	}
	server.StopNode(0)
	if err := b.Ready(testContext(t)); err == nil {
		t.Error("ready without the server")
	}
	if err := server.StartNode(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(testContext(t)); err != nil {
		t.Errorf("ready again: %v", err)
	}
	if v, err := dialled(t, credentials.Values).Read(testContext(t), "k"); v != "v" || err != nil {
		t.Errorf("read: %q, %v", v, err)
	}
	if s, err := dial(testContext(t), goneCredentials.Values); err == nil {
		_ = s.Close()
		t.Error("the revoked credentials work again")
	}
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Error(err)
	}
}

// A server by itself sets aside what its plans promise. When that is all, the
// operator is told, and nothing is left of the attempt.
func TestNoRoom(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{MaxStore: int64(40 * services.Megabyte)})
	b := server.backend(t)
	first := b.provisioned(t, newInstance("first", nil))
	second := b.provisioned(t, newInstance("second", nil))
	third := newInstance("third", nil)
	expect(t, servicetest.Patient(b).Provision(testContext(t), third), "no room left for an account of 16 MB on disk")
	if _, err := servicetest.Patient(b).Bind(testContext(t), third, newBinding(t, third, "b", nil)); err == nil {
		t.Error("an instance that could not be made can be bound")
	}
	larger := second
	larger.Plan.Storage = 32 * services.Megabyte
	expect(t, servicetest.Patient(b).Update(testContext(t), second, larger), "no room left for an account of 32 MB on disk")
	if err := servicetest.Patient(b).Update(testContext(t), larger, second); err != nil {
		t.Errorf("undo: %v", err)
	}
	if err := servicetest.Patient(b).Deprovision(testContext(t), first); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Provision(testContext(t), third); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
	b.bound(t, third, newBinding(t, third, "b", nil)).works(t)
	b.bound(t, second, newBinding(t, second, "b", nil)).works(t)
	for _, inst := range []instance{second, third} {
		if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
			t.Fatal(err)
		}
	}
	for _, inst := range []instance{first, second, third} {
		if left, err := server.leftOf(b.keys)(t.Context(), inst.Name, nil); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

// An update to less than is used is refused in words for the user.
func TestUpdateToLessThanIsUsed(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("shrink", func(p *Plan) { p.Streams = 3 }))
	s := b.bound(t, inst, newBinding(t, inst, "b", nil))
	s.works(t)
	smaller := inst
	smaller.Plan.Streams = 1
	if err := servicetest.Patient(b).Update(testContext(t), inst, smaller); err != nil {
		t.Errorf("to what is used: %v", err)
	}
	if err := servicetest.Patient(b).Update(testContext(t), smaller, inst); err != nil {
		t.Errorf("back: %v", err)
	}
	if taken, _ := s.fillStream(t, fillConfig()); taken == 0 {
		t.Fatal("nothing was taken")
	}
	for _, change := range []struct {
		plan  func(*Plan)
		words string
	}{
		{func(p *Plan) { p.Streams = 1 }, "the plan allows 1 streams and the instance has 2"},
		{func(p *Plan) { p.Storage = services.Megabyte }, "the plan allows 1 MB of streams on disk and the instance uses"},
	} {
		smaller := inst
		change.plan(&smaller.Plan)
		message, rejected := services.IsRejected(servicetest.Patient(b).Update(testContext(t), inst, smaller))
		if !rejected || !strings.Contains(message, change.words) {
			t.Errorf("%q, want %q", message, change.words)
		}
	}
}

// An update that failed half-way is undone whatever the application has put into
// the account since; to move there is refused to a user afterwards as before.
func TestUpdateIsUndone(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b, ctx := server.backend(t), testContext(t)
	small := b.provisioned(t, newInstance("undone", func(p *Plan) { p.Streams = 1 }))
	large := small
	large.Plan.Streams = 3
	owner := b.bound(t, small, newBinding(t, small, "b", nil))
	a, err := b.account(ctx, small.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := servicetest.ToTheEnd(ctx, func(ctx context.Context) error { return a.move(ctx, small.Plan, large.Plan) }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"A", "B"} {
		if _, err := owner.stream.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := servicetest.Patient(b).Update(ctx, large, small); err != nil {
			t.Errorf("undo: %v", err)
		}
	}
	for range 2 {
		if err := servicetest.Patient(b).Update(ctx, small, large); err != nil {
			t.Errorf("again: %v", err)
		}
	}
	_, rejected := services.IsRejected(servicetest.Patient(b).Update(ctx, large, small))
	if !rejected {
		t.Error("a user moved to less than is used")
	}
	a, err = b.account(ctx, small.Name)
	if err != nil {
		t.Fatal(err)
	}
	if a.finishUpdate() || a.limit(large.Plan) {
		t.Errorf("the account is still under way: %v %+v", a.claims.Tags, a.claims.Limits)
	}
}

// Two changes in one second are two to a server that missed one of them, and a
// call that has nothing to change says nothing to the servers.
func TestEachChangeIsLater(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("later", nil))
	issued := func() int64 {
		t.Helper()
		a, err := b.account(testContext(t), inst.Name)
		if err != nil {
			t.Fatal(err)
		}
		return a.claims.IssuedAt
	}
	last := issued()
	for i := range 5 {
		bd := newBinding(t, inst, string(rune('a'+i)), nil)
		for _, later := range []bool{true, false} {
			if _, err := servicetest.Patient(b).Bind(testContext(t), inst, bd); err != nil {
				t.Fatal(err)
			}
			if now := issued(); (now > last) != later {
				t.Errorf("issued at %d after %d", now, last)
			} else {
				last = now
			}
		}
		b.provisioned(t, inst)
		if now := issued(); now != last {
			t.Error("a repeated provision changed the account")
		}
	}
}

// An account that no longer fits into a message is the user's error.
func TestTooManySubjects(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("large", nil))
	a, err := b.account(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	params := BindingParams{Role: access.ReadWrite}
	for i := range maxSubjects {
		params.Publish = append(params.Publish, strings.Repeat("x", maxSubjectLength-2)+strconv.Itoa(10+i))
	}
	for range 300 {
		a.admit(rand.Text(), seedOf(t, nkeys.PrefixByteAccount), permissions(params))
	}
	message, rejected := services.IsRejected(a.push(testContext(t)))
	if !rejected || !strings.Contains(message, "more subjects than the server takes in one account (1 MB)") {
		t.Errorf("%q, rejected: %t", message, rejected)
	}
	b.bound(t, inst, newBinding(t, inst, "b", nil)).works(t)
}
