package credtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/credhub"
)

func TestMemory(t *testing.T) {
	shared := &Memory{}
	Run(t, func(*testing.T) credhub.Store { return shared })
}

func TestMemoryFails(t *testing.T) {
	m, ctx, away := &Memory{}, t.Context(), errors.New("away")
	path := fresh()
	if err := m.Put(ctx, path, value()); err != nil {
		t.Fatal(err)
	}
	m.Fail(away)
	_, ensured := m.Ensure(ctx, path, value())
	_, gotten := m.Get(ctx, path)
	for _, err := range []error{ensured, gotten, m.Put(ctx, path, value()), m.Delete(ctx, path), m.Ready(ctx)} {
		if !errors.Is(err, away) {
			t.Errorf("%v, want %v", err, away)
		}
	}
	m.Fail(nil)
	if diff := cmp.Diff([]string{path.String()}, m.Paths()); diff != "" {
		t.Error(diff)
	}
}

// TestBrokenStoresFail breaks one rule after another, and requires that the right checks
// notice.
func TestBrokenStoresFail(t *testing.T) {
	for name, c := range map[string]struct {
		open func() credhub.Store
		want []string
	}{
		"not ready": {
			func() credhub.Store { return notReady{&Memory{}} },
			[]string{"ready"},
		},
		"ensure is put": {
			func() credhub.Store { return overwrites{&Memory{}} },
			[]string{"16 racers, one winner", "ensure creates once", "ensure returns what was put"},
		},
		"ensure is get and put": {
			func() credhub.Store { return races{&Memory{}} },
			[]string{"16 racers, one winner"},
		},
		"a change is get and put": {
			func() credhub.Store { return forgetful{&Memory{}} },
			[]string{"no change is lost"},
		},
		"put is ensure": {
			func() credhub.Store { return keeps{&Memory{}} },
			[]string{"put replaces"},
		},
		"delete forgets only the last version": {
			func() credhub.Store { return &versions{old: map[credhub.Path][]json.RawMessage{}} },
			[]string{"delete of every version"},
		},
		"delete does nothing": {
			func() credhub.Store { return hoards{&Memory{}} },
			[]string{"delete", "delete of every version", "delete of one alone", "one store sees what another did"},
		},
		"get of nothing is empty": {
			func() credhub.Store { return silent{&Memory{}} },
			[]string{"delete", "delete of every version", "delete of one alone", "get of nothing",
				"one store sees what another did", "what is no object is refused"},
		},
		"errors quote": {
			func() credhub.Store { return quotes{&Memory{}} },
			[]string{"what is no object is refused"},
		},
		"numbers become small": {
			func() credhub.Store { return narrow{&Memory{}} },
			[]string{"values come back as they were"},
		},
		"contexts are ignored": {
			func() credhub.Store { return deaf{&Memory{}} },
			[]string{"ended contexts"},
		},
		"paths fold case": {
			func() credhub.Store { return &folds{Memory: &Memory{}} },
			[]string{"hostile identifiers do not collide"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			failed := map[string]bool{}
			for _, check := range checks() {
				s := c.open()
				failed[check.name] = fails(t, func(tb testing.TB) {
					check.run(tested{tb, s, slices.Repeat([]credhub.Store{s}, check.stores)})
				})
			}
			maps.DeleteFunc(failed, func(_ string, f bool) bool { return !f })
			for _, want := range c.want {
				if !failed[want] {
					t.Errorf("the check %q passes; only %q fail", want, slices.Sorted(maps.Keys(failed)))
				}
			}
		})
	}
}

// fails reports whether a check calls Fatal or Fatalf.
func fails(t *testing.T, check func(testing.TB)) bool {
	w, done := &witness{TB: t}, make(chan struct{})
	go func() {
		defer close(done)
		check(w)
	}()
	<-done
	return w.failed
}

// witness records a failure instead of failing its test.
type witness struct {
	testing.TB
	failed bool
}

func (*witness) Log(...any) {}

func (w *witness) Fatal(...any) {
	w.failed = true
	runtime.Goexit()
}

func (w *witness) Fatalf(string, ...any) { w.Fatal() }

type notReady struct{ *Memory }

func (notReady) Ready(context.Context) error { return errors.New("never") }

type overwrites struct{ *Memory }

func (s overwrites) Ensure(ctx context.Context, p credhub.Path, v json.RawMessage) (json.RawMessage, error) {
	return v, s.Put(ctx, p, v)
}

type races struct{ *Memory }

func (s races) Ensure(ctx context.Context, p credhub.Path, v json.RawMessage) (json.RawMessage, error) {
	if got, err := s.Get(ctx, p); !errors.Is(err, credhub.ErrNotFound) {
		return got, err
	}
	time.Sleep(time.Millisecond)
	return v, s.Put(ctx, p, v)
}

type forgetful struct{ *Memory }

func (s forgetful) Change(ctx context.Context, p credhub.Path, change func(json.RawMessage) (json.RawMessage, error)) error {
	got, err := s.Get(ctx, p)
	if err != nil && !errors.Is(err, credhub.ErrNotFound) {
		return err
	}
	time.Sleep(time.Millisecond)
	v, err := change(got)
	if err != nil {
		return err
	}
	return s.Put(ctx, p, v)
}

type keeps struct{ *Memory }

func (s keeps) Put(ctx context.Context, p credhub.Path, v json.RawMessage) error {
	_, err := s.Ensure(ctx, p, v)
	return err
}

// versions remembers replaced values, and restores one when the latest is deleted.
type versions struct {
	Memory
	mu  sync.Mutex
	old map[credhub.Path][]json.RawMessage
}

func (s *versions) Put(ctx context.Context, p credhub.Path, v json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, err := s.Get(ctx, p); err == nil {
		s.old[p] = append(s.old[p], got)
	}
	return s.Memory.Put(ctx, p, v)
}

func (s *versions) Delete(ctx context.Context, p credhub.Path) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.old[p]); n > 0 {
		last := s.old[p][n-1]
		s.old[p] = s.old[p][:n-1]
		return s.Memory.Put(ctx, p, last)
	}
	return s.Memory.Delete(ctx, p)
}

type hoards struct{ *Memory }

func (hoards) Delete(context.Context, credhub.Path) error { return nil }

type silent struct{ *Memory }

func (s silent) Get(ctx context.Context, p credhub.Path) (json.RawMessage, error) {
	got, err := s.Memory.Get(ctx, p)
	if errors.Is(err, credhub.ErrNotFound) {
		return nil, nil
	}
	return got, err
}

type quotes struct{ *Memory }

func (s quotes) Put(ctx context.Context, p credhub.Path, v json.RawMessage) error {
	if err := s.Memory.Put(ctx, p, v); err != nil {
		return fmt.Errorf("%s: %w", v, err)
	}
	return nil
}

type narrow struct{ *Memory }

func (s narrow) Put(ctx context.Context, p credhub.Path, v json.RawMessage) error {
	var decoded struct {
		N float32 `json:"n"`
	}
	if json.Unmarshal(v, &decoded) != nil || decoded.N == 0 {
		return s.Memory.Put(ctx, p, v)
	}
	encoded, err := json.Marshal(decoded)
	return errors.Join(err, s.Memory.Put(ctx, p, encoded))
}

type deaf struct{ *Memory }

func (s deaf) Put(_ context.Context, p credhub.Path, v json.RawMessage) error {
	return s.Memory.Put(context.Background(), p, v)
}

// folds does not distinguish upper from lower case.
type folds struct {
	*Memory
	mu    sync.Mutex
	first map[string]credhub.Path
}

func (s *folds) fold(p credhub.Path) credhub.Path {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = map[string]credhub.Path{}
	}
	key := string(bytes.ToLower([]byte(p.String())))
	if _, ok := s.first[key]; !ok {
		s.first[key] = p
	}
	return s.first[key]
}

func (s *folds) Ensure(ctx context.Context, p credhub.Path, v json.RawMessage) (json.RawMessage, error) {
	return s.Memory.Ensure(ctx, s.fold(p), v)
}
