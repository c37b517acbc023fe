// Package credtest is the suite that every credential store passes, and a store
// in memory that passes it too.
package credtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/credhub"
)

// Run holds stores to the contract of credhub.Store. Every call of open returns
// a store of its own, as another replica of the broker would open it: all of
// them over the same secrets. What open needs to clean up it leaves to
// t.Cleanup. The suite keeps to paths that nobody else uses.
func Run(t *testing.T, open func(t *testing.T) credhub.Store) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			stores := make([]credhub.Store, c.stores)
			for i := range stores {
				stores[i] = open(t)
			}
			if err := c.run(t.Context(), stores); err != nil {
				t.Error(err)
			}
		})
	}
}

// check is one rule of the contract. It returns how the stores break it.
type check struct {
	name   string
	stores int
	run    func(ctx context.Context, stores []credhub.Store) error
}

func one(run func(context.Context, credhub.Store) error) func(context.Context, []credhub.Store) error {
	return func(ctx context.Context, stores []credhub.Store) error { return run(ctx, stores[0]) }
}

func checks() []check {
	return []check{
		{"ready", 1, one(isReady)},
		{"get of nothing", 1, one(getsNothing)},
		{"put and get", 1, one(putsAndGets)},
		{"put replaces", 1, one(putReplaces)},
		{"ensure creates once", 1, one(ensureCreatesOnce)},
		{"ensure keeps what was put", 1, one(ensureKeeps)},
		{"delete", 1, one(deletes)},
		{"delete of every version", 1, one(deletesEveryVersion)},
		{"delete of one alone", 1, one(deletesOneAlone)},
		{"values come back as they were", 1, one(valuesComeBack)},
		{"what is no object is refused", 1, one(refusesOthers)},
		{"hostile identifiers do not collide", 1, one(hostileDoNotCollide)},
		{"one store sees what another did", 2, storesShare},
		{"16 racers, one winner", 4, oneWinner},
		{"ensure against delete", 2, ensureAgainstDelete},
		{"a change sees what is stored", 1, one(changes)},
		{"no change is lost", 4, noChangeIsLost},
		{"ended contexts", 1, one(contextsEnd)},
	}
}

// fresh returns a path that nobody used before.
func fresh() credhub.Path { return credhub.SeedPath(rand.Text(), rand.Text()) }

// value returns an object that is like no other.
func value() json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"password":%q}`, rand.Text()))
}

// holds says how what is stored at path differs from want.
func holds(ctx context.Context, s credhub.Store, path credhub.Path, want json.RawMessage) error {
	got, err := s.Get(ctx, path)
	if err != nil {
		return fmt.Errorf("Get(%s): %w", path, err)
	}
	return equal("Get", want, got)
}

// holdsNothing says how path is not empty.
func holdsNothing(ctx context.Context, s credhub.Store, path credhub.Path) error {
	got, err := s.Get(ctx, path)
	switch {
	case got != nil || err == nil:
		return fmt.Errorf("Get(%s) gives %d bytes where nothing is stored", path, len(got))
	case !errors.Is(err, credhub.ErrNotFound):
		return fmt.Errorf("Get(%s) is to say ErrNotFound: %w", path, err)
	}
	return nil
}

// equal compares JSON values, whose numbers it takes literally.
func equal(what string, want, got json.RawMessage) error {
	if diff := cmp.Diff(decode(want), decode(got)); diff != "" {
		return fmt.Errorf("%s: what is stored and what was expected differ (-want +got):\n%s", what, diff)
	}
	return nil
}
