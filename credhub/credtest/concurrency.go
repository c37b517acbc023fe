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

	"github.com/chandler-broker/chandler/credhub"
)

func storesShare(ctx context.Context, stores []credhub.Store) error {
	path, v := fresh(), value()
	if err := stores[0].Put(ctx, path, v); err != nil {
		return fmt.Errorf("Put: %w", err)
	}
	if err := holds(ctx, stores[1], path, v); err != nil {
		return err
	}
	if err := stores[1].Delete(ctx, path); err != nil {
		return fmt.Errorf("Delete: %w", err)
	}
	return holdsNothing(ctx, stores[0], path)
}

// together calls f n times at once and joins the errors.
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

func oneWinner(ctx context.Context, stores []credhub.Store) error {
	const racers, rounds = 16, 5
	for range rounds {
		path := fresh()
		offered, got := make([]json.RawMessage, racers), make([]json.RawMessage, racers)
		err := together(racers, func(i int) (err error) {
			offered[i] = value()
			got[i], err = stores[i%len(stores)].Ensure(ctx, path, offered[i])
			return err
		})
		if err != nil {
			return fmt.Errorf("Ensure: %w", err)
		}
		if !contains(offered, got[0]) {
			return errors.New("Ensure returns what nobody offered")
		}
		for _, g := range got {
			if err := equal("two racers", got[0], g); err != nil {
				return err
			}
		}
		if err := holds(ctx, stores[0], path, got[0]); err != nil {
			return err
		}
	}
	return nil
}

func contains(values []json.RawMessage, v json.RawMessage) bool {
	return slices.ContainsFunc(values, func(candidate json.RawMessage) bool { return equal("", candidate, v) == nil })
}

// changes shows that a change is given what is stored, and that its refusal changes
// nothing.
func changes(ctx context.Context, s credhub.Store) error {
	path, first, second, refusal := fresh(), value(), value(), errors.New("refused")
	to := func(want, next json.RawMessage, err error) func(json.RawMessage) (json.RawMessage, error) {
		return func(stored json.RawMessage) (json.RawMessage, error) {
			if want == nil && stored != nil {
				return nil, errors.New("change is given a value where nothing is stored")
			}
			if want != nil {
				if err := equal("change", want, stored); err != nil {
					return nil, err
				}
			}
			return next, err
		}
	}
	if err := s.Change(ctx, path, to(nil, nil, refusal)); !errors.Is(err, refusal) {
		return fmt.Errorf("Change: got %w; want the refusal", err)
	}
	if err := holdsNothing(ctx, s, path); err != nil {
		return err
	}
	if err := s.Change(ctx, path, to(nil, first, nil)); err != nil {
		return fmt.Errorf("Change of nothing: %w", err)
	}
	if err := s.Change(ctx, path, to(first, second, refusal)); !errors.Is(err, refusal) {
		return fmt.Errorf("Change: got %w; want the refusal", err)
	}
	if err := holds(ctx, s, path, first); err != nil {
		return err
	}
	if err := s.Change(ctx, path, to(first, second, nil)); err != nil {
		return fmt.Errorf("Change: %w", err)
	}
	if err := s.Change(ctx, path, to(second, json.RawMessage(`[1]`), nil)); err == nil {
		return errors.New("Change stores what is no object")
	}
	if err := s.Delete(ctx, path); err != nil {
		return fmt.Errorf("Delete: %w", err)
	}
	if err := s.Change(ctx, path, to(nil, first, nil)); err != nil {
		return fmt.Errorf("Change of what was deleted: %w", err)
	}
	return holds(ctx, s, path, first)
}

// noChangeIsLost lets several writers add a key of their own to one object at once.
func noChangeIsLost(ctx context.Context, stores []credhub.Store) error {
	const writers, rounds = 8, 3
	path := fresh()
	err := together(writers, func(i int) error {
		for round := range rounds {
			err := stores[i%len(stores)].Change(ctx, path, func(stored json.RawMessage) (json.RawMessage, error) {
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
				return fmt.Errorf("Change: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	stored, err := stores[0].Get(ctx, path)
	if err != nil {
		return fmt.Errorf("Get: %w", err)
	}
	var keys map[string]bool
	if err := json.Unmarshal(stored, &keys); err != nil || len(keys) != writers*rounds {
		return fmt.Errorf("of %d changes %d are there (%v)", writers*rounds, len(keys), err) //nolint:errorlint // there may be none
	}
	return nil
}

// ensureAgainstDelete lets a path come and go while others ask for it: each of
// them gets a value that somebody offered.
func ensureAgainstDelete(ctx context.Context, stores []credhub.Store) error {
	const racers, rounds = 8, 10
	path := fresh()
	var mu sync.Mutex
	var offered []json.RawMessage
	return together(racers, func(i int) error {
		s := stores[i%len(stores)]
		for range rounds {
			if i < racers/2 {
				if err := s.Delete(ctx, path); err != nil {
					return fmt.Errorf("Delete: %w", err)
				}
				continue
			}
			v := value()
			mu.Lock()
			offered = append(offered, v)
			mu.Unlock()
			got, err := s.Ensure(ctx, path, v)
			if err != nil {
				return fmt.Errorf("Ensure: %w", err)
			}
			mu.Lock()
			known := contains(offered, got)
			mu.Unlock()
			if !known {
				return errors.New("Ensure returns what nobody offered")
			}
		}
		return nil
	})
}

// contextsEnd shows that a call whose context has ended fails at once, with the
// context's error and without the value, and changes nothing.
func contextsEnd(parent context.Context, s credhub.Store) error {
	cancelled, cancel := context.WithCancel(parent)
	cancel()
	expired, cancel := context.WithDeadline(parent, time.Now().Add(-time.Second))
	defer cancel()
	for ctx, want := range map[context.Context]error{cancelled: context.Canceled, expired: context.DeadlineExceeded} {
		path, kept, offered := fresh(), value(), value()
		if err := s.Put(parent, path, kept); err != nil {
			return fmt.Errorf("Put: %w", err)
		}
		_, ensured := s.Ensure(ctx, path, offered)
		_, gotten := s.Get(ctx, path)
		for method, err := range map[string]error{
			"Ensure": ensured, "Get": gotten,
			"Put": s.Put(ctx, path, offered), "Change": s.Change(ctx, path, func(json.RawMessage) (json.RawMessage, error) { return offered, nil }), "Delete": s.Delete(ctx, path), "Ready": s.Ready(ctx),
		} {
			if !errors.Is(err, want) {
				return fmt.Errorf("%s: got %w; want %w", method, err, want)
			}
			for _, v := range []json.RawMessage{kept, offered} {
				if strings.Contains(err.Error(), decode(v).(map[string]any)["password"].(string)) {
					return fmt.Errorf("the error of %s holds a value", method)
				}
			}
		}
		if err := holds(parent, s, path, kept); err != nil {
			return err
		}
	}
	return nil
}
