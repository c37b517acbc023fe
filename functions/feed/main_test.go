package feed_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// childVariable makes the test binary a runtime that takes a fire or message and hangs.
const childVariable = "FEED_TEST_CHILD"

func TestMain(m *testing.M) {
	if config := os.Getenv(childVariable); config != "" {
		if err := child([]byte(config)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	embeddedtest.Main(m)
}

// space is the namespace of the tests.
const space = "abcdefghijklmnopqrstuvwxyz"

// patience limits how long tests wait for an expected event.
const patience = time.Minute

// house is a database with a namespace, and what runtimes need to use it.
type house struct {
	url    string
	store  *state.Store
	key    string
	sealer *state.Sealer
}

func newHouse(t *testing.T) *house {
	t.Helper()
	return openHouse(t, embeddedtest.Database(t))
}

func openHouse(t *testing.T, url string) *house {
	t.Helper()
	h := &house{url: url, key: state.GenerateKey()}
	var err error
	if h.store, h.sealer, err = openState(t.Context(), h.url, h.key); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.store.Close)
	if err := h.store.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	h.limit(t, state.Limits{MessageAttempts: 3, DeadLetters: 100})
	return h
}

func openState(ctx context.Context, url, key string) (*state.Store, *state.Sealer, error) {
	store, err := state.Open(ctx, url, 16)
	if err != nil {
		return nil, nil, err
	}
	sealer, err := state.ParseKeys([]byte(key))
	return store, sealer, err
}

func (h *house) limit(t *testing.T, limits state.Limits) {
	t.Helper()
	raw, err := json.Marshal(limits)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.PutNamespace(t.Context(), h.store.Pool, state.PutNamespaceParams{Name: space, Limits: raw, Mounts: []byte("[]")}); err != nil {
		t.Fatal(err)
	}
}

// forget deletes the namespace.
func (h *house) forget(ctx context.Context) error {
	_, err := h.store.Pool.Exec(ctx, "delete from namespaces where name = $1", space)
	return err
}

// trigger makes a trigger.
func (h *house) trigger(t *testing.T, name string) {
	t.Helper()
	err := h.store.PutTrigger(t.Context(), h.store.Pool, state.PutTriggerParams{
		Namespace: space, Name: name, Version: "0.0.1", Annotations: []byte("[]"), Parameters: []byte{}, UpdatedAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// runtime is one runtime of a house.
type runtime struct {
	*feed.Feeds
	t    *testing.T
	stop func() // as a shutdown does; returns when all has ended
}

// start runs a runtime until the test ends, or stop.
func (h *house) start(t *testing.T, firer feed.Firer, change func(*feed.Options)) *runtime {
	t.Helper()
	o := feed.Options{
		Store: h.store, Sealer: h.sealer, Firer: firer, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Servers: []string{feed.AnyServer},
		Pace:    feed.Pace{Retry: 50 * time.Millisecond, RetryMost: time.Second, Look: 2 * time.Second, Grace: 5 * time.Second},
	}
	if change != nil {
		change(&o)
	}
	f, err := feed.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	wg.Go(func() { h.store.Listen(ctx, o.Logger, f.Notice) })
	r := &runtime{Feeds: f, t: t, stop: sync.OnceFunc(func() { cancel(); wg.Wait() })}
	t.Cleanup(r.stop)
	return r
}

// ask invokes a feed's action.
func (r *runtime) ask(action string, arguments map[string]any) (map[string]any, error) {
	r.t.Helper()
	raw, err := json.Marshal(arguments)
	if err != nil {
		r.t.Fatal(err)
	}
	answer, err := r.Invoke(r.t.Context(), space, action, raw)
	if err != nil {
		return nil, err
	}
	var result map[string]any
	if err := json.Unmarshal(answer, &result); err != nil {
		r.t.Fatalf("the answer %s: %v", answer, err)
	}
	return result, nil
}

// with are a call's arguments.
func with(verb, trigger string, more map[string]any) map[string]any {
	arguments := map[string]any{"lifecycleEvent": verb, "triggerName": "/" + space + "/" + trigger, "authKey": "u:k"}
	for key, value := range more {
		arguments[key] = value
	}
	return arguments
}

// do is ask, and fails the test on an error.
func (r *runtime) do(verb, action, trigger string, more map[string]any) map[string]any {
	r.t.Helper()
	result, err := r.ask(action, with(verb, trigger, more))
	if err != nil {
		r.t.Fatalf("%s %s: %v", verb, action, err)
	}
	return result
}

// status is the status that READ returns.
func (r *runtime) status(action, trigger string) map[string]any {
	r.t.Helper()
	return r.do("READ", action, trigger, nil)["status"].(map[string]any)
}

// refusal is the message of a refusal; any other error fails the test.
func refusal(t *testing.T, err error) string {
	t.Helper()
	r, ok := errors.AsType[*feed.Refusal](err)
	if !ok {
		t.Fatalf("not refused: %v", err)
	}
	return r.Message
}

// firer records events and answers them as the test says.
type firer struct {
	// do says what comes of the n-th event, from 1; nil: success.
	do func(ctx context.Context, n int, e feed.Event) (feed.Fired, error)

	mu     sync.Mutex
	events []feed.Event
}

var worked = feed.Fired{Activation: "a", Rules: 1}

func (f *firer) Fire(ctx context.Context, e feed.Event) (feed.Fired, error) {
	f.mu.Lock()
	f.events = append(f.events, e)
	n := len(f.events)
	f.mu.Unlock()
	if f.do == nil {
		return worked, nil
	}
	return f.do(ctx, n, e)
}

func (f *firer) fired() []feed.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]feed.Event(nil), f.events...)
}

// waitFor waits for n events and returns them.
func (f *firer) waitFor(t *testing.T, n int) []feed.Event {
	t.Helper()
	eventually(t, fmt.Sprintf("%d fires", n), func() bool { return len(f.fired()) >= n })
	return f.fired()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// payload is an event's payload.
func payload(t *testing.T, e feed.Event) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(e.Payload, &object); err != nil {
		t.Fatalf("the payload %s: %v", e.Payload, err)
	}
	return object
}

// childConfig configures a child process.
type childConfig struct {
	URL, Key string
	Lease    time.Duration
	AckWait  time.Duration
}

// child is a runtime in a separate process, which writes the ID of the first event and hangs.
func child(raw []byte) error {
	var c childConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	ctx := context.Background()
	store, sealer, err := openState(ctx, c.URL, c.Key)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	f, err := feed.Open(feed.Options{
		Store: store, Sealer: sealer, Firer: hang{}, Logger: logger, Servers: []string{feed.AnyServer},
		Pace: feed.Pace{Lease: c.Lease, AckWait: c.AckWait, Look: time.Second},
	})
	if err != nil {
		return err
	}
	go store.Listen(ctx, logger, f.Notice)
	f.Run(ctx)
	return nil
}

type hang struct{}

func (hang) Fire(_ context.Context, e feed.Event) (feed.Fired, error) {
	fmt.Println(e.ID)
	select {}
}

// childTime is how long a child may take to fire its first event.
const childTime = 2 * time.Minute

// hangingChild starts a child and waits until it fires. It returns the event's ID and a
// function that kills the child as kill -9 does.
func (h *house) hangingChild(t *testing.T, c childConfig) (id string, kill func()) {
	t.Helper()
	c.URL, c.Key = h.url, h.key
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childVariable+"="+string(raw))
	command.Stderr = t.Output()
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
	})
	t.Cleanup(kill)
	defer time.AfterFunc(childTime, kill).Stop()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the child fires nothing")
	}
	return lines.Text(), kill
}
