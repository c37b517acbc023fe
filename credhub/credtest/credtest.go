// Package credtest is the suite that every credential store passes, and a store
// in memory that passes it too.
package credtest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/credhub"
)

// Run checks stores against the contract of credhub.Store. Each call of open returns a
// new store over the same secrets, like another replica of the broker, and cleans up by
// t.Cleanup. The suite uses only paths that nobody else uses.
func Run(t *testing.T, open func(t *testing.T) credhub.Store) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			stores := make([]credhub.Store, c.stores)
			for i := range stores {
				stores[i] = open(t)
			}
			c.run(tested{t, stores[0], stores})
		})
	}
}

// check is one rule of the contract.
type check struct {
	name   string
	stores int
	run    func(tested)
}

func checks() []check {
	return []check{
		{"ready", 1, isReady},
		{"get of nothing", 1, func(s tested) { s.isEmpty(fresh()) }},
		{"put and get", 1, putsAndGets},
		{"put replaces", 1, putReplaces},
		{"ensure creates once", 1, ensureCreatesOnce},
		{"ensure returns what was put", 1, ensureReturnsStored},
		{"delete", 1, deletes},
		{"delete of every version", 1, deletesEveryVersion},
		{"delete of one alone", 1, deletesOneAlone},
		{"values come back as they were", 1, valuesComeBack},
		{"what is no object is refused", 1, refusesOthers},
		{"hostile identifiers do not collide", 1, hostileDoNotCollide},
		{"one store sees what another did", 2, storesShare},
		{"16 racers, one winner", 4, oneWinner},
		{"ensure against delete", 2, ensureAgainstDelete},
		{"a change sees what is stored", 1, changes},
		{"no change is lost", 4, noChangeIsLost},
		{"ended contexts", 1, contextsEnd},
	}
}

// tested is a store under test. Its methods end the test if the store breaks a rule.
type tested struct {
	testing.TB
	credhub.Store
	replicas []credhub.Store // this store is the first
}

// replica returns one of the replicas for a goroutine of that number.
func (s tested) replica(i int) credhub.Store { return s.replicas[i%len(s.replicas)] }

// must ends the test if a call failed.
func (s tested) must(call string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", call, err)
	}
}

func (s tested) put(path credhub.Path, v json.RawMessage) {
	s.Helper()
	s.must("Put", s.Put(s.Context(), path, v))
}

func (s tested) delete(path credhub.Path) {
	s.Helper()
	s.must("Delete", s.Delete(s.Context(), path))
}

// ensures requires that Ensure of v returns want.
func (s tested) ensures(path credhub.Path, v, want json.RawMessage) {
	s.Helper()
	got, err := s.Ensure(s.Context(), path, v)
	s.must("Ensure", err)
	s.must("Ensure", equal(want, got))
}

// holds requires that want is stored at path.
func (s tested) holds(path credhub.Path, want json.RawMessage) {
	s.Helper()
	got, err := s.Get(s.Context(), path)
	s.must("Get", err)
	s.must("Get", equal(want, got))
}

// isEmpty requires that nothing is stored at path.
func (s tested) isEmpty(path credhub.Path) {
	s.Helper()
	if got, err := s.Get(s.Context(), path); got != nil || !errors.Is(err, credhub.ErrNotFound) {
		s.Fatalf("Get(%s), where nothing is stored: %d bytes, %v; want ErrNotFound", path, len(got), err)
	}
}

// fresh returns a path that nobody used before.
func fresh() credhub.Path { return credhub.SeedPath(rand.Text(), rand.Text()) }

// value returns a unique object.
func value() json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"password":%q}`, rand.Text()))
}

// equal compares JSON values, and numbers as they are written.
func equal(want, got json.RawMessage) error {
	if diff := cmp.Diff(decode(want), decode(got)); diff != "" {
		return fmt.Errorf("another value than expected (-want +got):\n%s", diff)
	}
	return nil
}
