package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
)

// service is a connection to a bound service.
type service interface {
	io.Closer
	// identity is the forum's user there. It is not secret.
	identity() string
}

// link is a bound service. When the credentials change, the next user gets a connection
// with the new ones, and the old connection is closed after its last user, so that no
// visitor notices.
type link[T service] struct {
	name string
	// kinds are the types of bindings that open needs.
	kinds []string
	open  func(context.Context, bindings.Set) (T, error)
	log   *slog.Logger

	wanted chan bindings.Set

	mu       sync.Mutex
	current  *held[T]
	fault    error
	retiring int // connections with older credentials that are still in use
}

type held[T service] struct {
	value T
	users sync.WaitGroup
}

func newLink[T service](log *slog.Logger, name string, open func(context.Context, bindings.Set) (T, error), kinds ...string) *link[T] {
	return &link[T]{
		name: name, kinds: kinds, open: open, log: log.With("service", name), wanted: make(chan bindings.Set, 1),
		fault: errors.New("not connected yet"),
	}
}

// use returns the connection, and a function to call when it is no longer used. The error
// says why there is no connection.
func (l *link[T]) use() (T, func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		var none T
		return none, nil, fmt.Errorf("the %s is not available: %w", l.name, l.fault)
	}
	l.current.users.Add(1)
	return l.current.value, l.current.users.Done, nil
}

// do calls f with the connection.
func (l *link[T]) do(f func(T) error) error {
	value, done, err := l.use()
	if err != nil {
		return err
	}
	defer done()
	return f(value)
}

// rebind makes the link use the bindings of its types. Only one goroutine at a time may
// call it.
func (l *link[T]) rebind(all bindings.Set) {
	select {
	case <-l.wanted: // nobody needs the previous ones
	default:
	}
	l.wanted <- all
}

const (
	openTime   = 30 * time.Second // of one attempt to connect
	firstPause = 200 * time.Millisecond
	lastPause  = 5 * time.Second
)

// run connects, and connects again when the credentials change, until the context ends. Then
// it closes the connection.
func (l *link[T]) run(ctx context.Context) {
	var now, connected bindings.Set
	var again <-chan time.Time
	pause := firstPause
	defer func() { l.replace(nil) }()
	for {
		select {
		case <-ctx.Done():
			return
		case all := <-l.wanted:
			mine, err := l.pick(all)
			if err != nil {
				l.failed(err) // the previous connection may continue to work
				again = nil
				continue
			}
			if slices.EqualFunc(mine, connected, bindings.Binding.Equal) {
				continue
			}
			now, pause = mine, firstPause
		case <-again:
		}
		if l.connect(ctx, now) {
			connected, again = now, nil
			continue
		}
		again = time.After(pause)
		pause = min(2*pause, lastPause)
	}
}

func (l *link[T]) pick(all bindings.Set) (bindings.Set, error) {
	var mine bindings.Set
	for _, kind := range l.kinds {
		b, err := all.Of(kind)
		if err != nil {
			return nil, err
		}
		mine = append(mine, b)
	}
	return mine, nil
}

func (l *link[T]) connect(ctx context.Context, set bindings.Set) bool {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	value, err := l.open(ctx, set)
	if err != nil {
		l.failed(err)
		return false
	}
	l.replace(&held[T]{value: value})
	l.log.Info("connected", "identity", value.identity())
	return true
}

func (l *link[T]) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil || l.fault.Error() != err.Error() {
		l.log.Warn("cannot connect", "error", err)
	}
	l.fault = err
}

func (l *link[T]) replace(next *held[T]) {
	l.mu.Lock()
	old := l.current
	l.current, l.fault = next, nil
	if next == nil {
		l.fault = errors.New("the forum is closing")
	}
	if old != nil {
		l.retiring++
	}
	l.mu.Unlock()
	if old != nil {
		go l.retire(old)
	}
}

func (l *link[T]) retire(old *held[T]) {
	old.users.Wait()
	if err := old.value.Close(); err != nil {
		l.log.Warn("cannot close the former connection", "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retiring--
}

// linkStatus is the status of a service on the status page.
type linkStatus struct {
	// Identity is empty if the forum is not connected.
	Identity string `json:"identity"`
	// Retiring is the number of connections with older credentials that are in use.
	Retiring int    `json:"retiring"`
	Fault    string `json:"fault,omitempty"`
}

func (l *link[T]) status() linkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := linkStatus{Retiring: l.retiring}
	if l.current != nil {
		s.Identity = l.current.value.identity()
	}
	if l.fault != nil {
		s.Fault = l.fault.Error()
	}
	return s
}
