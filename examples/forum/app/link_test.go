package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
)

// fake is a connection that knows whether it was used after its end.
type fake struct {
	key    string
	closed atomic.Bool
}

func (f *fake) identity() string { return f.key }

func (f *fake) Close() error {
	f.closed.Store(true)
	return nil
}

func bound(key string) bindings.Set {
	return bindings.Set{bindings.New("b", map[string]string{"type": "fake", "key": key})}
}

func openFake(_ context.Context, set bindings.Set) (*fake, error) {
	if set[0].Get("key") == "bad" {
		return nil, errors.New("refused")
	}
	return &fake{key: set[0].Get("key")}, nil
}

func newFakeLink(open func(context.Context, bindings.Set) (*fake, error)) *link[*fake] {
	return newLink(slog.New(slog.DiscardHandler), "fake", open, "fake")
}

func awaitIdentity(t *testing.T, l *link[*fake], want string) {
	t.Helper()
	for l.status().Identity != want {
		if t.Context().Err() != nil {
			t.Fatalf("it is %+v, not %s", l.status(), want)
		}
		time.Sleep(time.Millisecond)
	}
}

// Many users, and credentials that change under them: nobody holds a connection
// that was closed, and none is left open.
func TestLinkUnderTraffic(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var opened []*fake
	l := newFakeLink(func(ctx context.Context, set bindings.Set) (*fake, error) {
		f, err := openFake(ctx, set)
		mu.Lock()
		defer mu.Unlock()
		opened = append(opened, f)
		return f, err
	})
	var running, users sync.WaitGroup
	running.Go(func() { l.run(ctx) })
	l.rebind(bound("0"))
	awaitIdentity(t, l, "0")
	done := make(chan struct{})
	for range 8 {
		users.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				f, release, err := l.use()
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
				if f.closed.Load() {
					t.Error("it was closed while it was used")
				}
				release()
			}
		})
	}
	for n := 1; n < 30; n++ {
		l.rebind(bound(fmt.Sprint(n)))
		awaitIdentity(t, l, fmt.Sprint(n))
	}
	close(done)
	users.Wait()
	for l.status().Retiring > 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	running.Wait()
	for l.status().Retiring > 0 {
		time.Sleep(time.Millisecond)
	}
	for _, f := range opened {
		if !f.closed.Load() {
			t.Errorf("%s is still open", f.key)
		}
	}
	if _, _, err := l.use(); err == nil {
		t.Error("it can be used after its end")
	}
}

func TestLinkKeepsWhatWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int32
		l := newFakeLink(func(ctx context.Context, set bindings.Set) (*fake, error) {
			attempts.Add(1)
			return openFake(ctx, set)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go l.run(ctx)
		defer synctest.Wait()
		defer cancel()
		l.rebind(nil)
		synctest.Wait()
		if s := l.status(); s.Identity != "" || s.Fault != "no service of type fake is bound: bind one" {
			t.Errorf("without a binding: %+v", s)
		}
		l.rebind(bound("good"))
		synctest.Wait()
		for _, set := range []bindings.Set{bound("bad"), nil} {
			l.rebind(set)
			time.Sleep(time.Minute)
			if s := l.status(); s.Identity != "good" || s.Fault == "" || s.Retiring != 0 {
				t.Errorf("after what does not work: %+v", s)
			}
		}
		if n := attempts.Load(); n < 10 || n > 30 {
			t.Errorf("%d attempts in a minute", n)
		}
		l.rebind(bound("better"))
		synctest.Wait()
		if s := l.status(); s != (linkStatus{Identity: "better"}) {
			t.Errorf("after what works: %+v", s)
		}
	})
}
