package credtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

func storesShare(s tested) {
	other := tested{s.TB, s.replicas[1], s.replicas}
	path, v := fresh(), value()
	s.put(path, v)
	other.holds(path, v)
	other.delete(path)
	s.isEmpty(path)
}

// together calls f n times at once and returns the joined errors.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	all.Wait()
	return errors.Join(errs...)
}

func oneWinner(s tested) {
	const racers, rounds = 16, 5
	for range rounds {
		path := fresh()
		offered, got := make([]json.RawMessage, racers), make([]json.RawMessage, racers)
		s.must("Ensure", together(racers, func(i int) (err error) {
			offered[i] = value()
			got[i], err = s.replica(i).Ensure(s.Context(), path, offered[i])
			return err
		}))
		if !contains(offered, got[0]) {
			s.Fatal("Ensure returns a value that nobody offered")
		}
		for _, g := range got {
			s.must("two racers", equal(got[0], g))
		}
		s.holds(path, got[0])
	}
}

func contains(values []json.RawMessage, v json.RawMessage) bool {
	return slices.ContainsFunc(values, func(candidate json.RawMessage) bool { return equal(candidate, v) == nil })
}

// changes checks that a change gets what is stored, and that its refusal changes nothing.
func changes(s tested) {
	path, first, second, refusal := fresh(), value(), value(), errors.New("refused")
	change := func(stored, next json.RawMessage, result error) error {
		return s.Change(s.Context(), path, func(got json.RawMessage) (json.RawMessage, error) {
			if stored == nil && got != nil {
				return nil, errors.New("change got a value, and nothing is stored")
			}
			if stored != nil {
				result = errors.Join(result, equal(stored, got))
			}
			return next, result
		})
	}
	refused := func(err error) {
		s.Helper()
		if !errors.Is(err, refusal) {
			s.Fatalf("Change: got %v; want the refusal", err)
		}
	}
	refused(change(nil, nil, refusal))
	s.isEmpty(path)
	s.must("Change of nothing", change(nil, first, nil))
	refused(change(first, second, refusal))
	s.holds(path, first)
	s.must("Change", change(first, second, nil))
	if change(second, json.RawMessage(`[1]`), nil) == nil {
		s.Fatal("Change stores a value that is not an object")
	}
	s.delete(path)
	s.must("Change after Delete", change(nil, first, nil))
	s.holds(path, first)
}

// noChangeIsLost lets several writers add keys to one object at once.
func noChangeIsLost(s tested) {
	const writers, rounds = 8, 3
	path := fresh()
	s.must("Change", together(writers, func(i int) error {
		for round := range rounds {
			err := s.replica(i).Change(s.Context(), path, func(stored json.RawMessage) (json.RawMessage, error) {
				keys := map[string]bool{}
				if stored != nil {
					if err := json.Unmarshal(stored, &keys); err != nil {
						return nil, err
					}
				}
				keys[fmt.Sprintf("%d/%d", i, round)] = true
				return json.Marshal(keys)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	stored, err := s.Get(s.Context(), path)
	s.must("Get", err)
	var keys map[string]bool
	s.must("Get", json.Unmarshal(stored, &keys))
	if len(keys) != writers*rounds {
		s.Fatalf("%d changes were stored, want %d", len(keys), writers*rounds)
	}
}

// ensureAgainstDelete deletes a path while others ensure it: each of them gets a value
// that somebody offered.
func ensureAgainstDelete(s tested) {
	const racers, rounds = 8, 10
	path := fresh()
	var mu sync.Mutex
	var offered []json.RawMessage
	offer := func() json.RawMessage {
		mu.Lock()
		defer mu.Unlock()
		offered = append(offered, value())
		return offered[len(offered)-1]
	}
	s.must("Ensure against Delete", together(racers, func(i int) error {
		store := s.replica(i)
		for range rounds {
			if i < racers/2 {
				if err := store.Delete(s.Context(), path); err != nil {
					return err
				}
				continue
			}
			got, err := store.Ensure(s.Context(), path, offer())
			if err != nil {
				return err
			}
			mu.Lock()
			known := contains(offered, got)
			mu.Unlock()
			if !known {
				return errors.New("Ensure returns a value that nobody offered")
			}
		}
		return nil
	}))
}

// contextsEnd checks that a call whose context has ended fails at once, with the
// context's error and without the value, and changes nothing.
func contextsEnd(s tested) {
	cancelled, cancel := context.WithCancel(s.Context())
	cancel()
	expired, cancel := context.WithDeadline(s.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for ctx, want := range map[context.Context]error{cancelled: context.Canceled, expired: context.DeadlineExceeded} {
		path, stored, offered := fresh(), value(), value()
		s.put(path, stored)
		_, ensured := s.Ensure(ctx, path, offered)
		_, gotten := s.Get(ctx, path)
		changed := s.Change(ctx, path, func(json.RawMessage) (json.RawMessage, error) { return offered, nil })
		for method, err := range map[string]error{
			"Ensure": ensured, "Get": gotten, "Change": changed,
			"Put": s.Put(ctx, path, offered), "Delete": s.Delete(ctx, path), "Ready": s.Ready(ctx),
		} {
			if !errors.Is(err, want) {
				s.Fatalf("%s: got %v; want %v", method, err, want)
			}
			for _, v := range []json.RawMessage{stored, offered} {
				if strings.Contains(err.Error(), decode(v).(map[string]any)["password"].(string)) {
					s.Fatalf("the error of %s contains a value", method)
				}
			}
		}
		s.holds(path, stored)
	}
}
