package sealed_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/sealed"
)

func TestRotation(t *testing.T) {
	pool, old, fresh := database(t), sealed.GenerateKey(), sealed.GenerateKey()
	before := open(t, pool, old)
	stored := map[credhub.Path]json.RawMessage{}
	for i := range 450 { // more than two batches
		path, value := put(t, before, fmt.Sprint("i", i))
		stored[path] = value
	}

	both := open(t, pool, fresh, old)
	if err := both.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	path, value := put(t, both, "i7") // seals it under the first key
	mustHold(t, both, path, value)
	if n, err := both.Rewrap(t.Context()); err != nil || n != 449 {
		t.Fatalf("Rewrap = %d, %v; want 449", n, err)
	}
	if n, err := both.Rewrap(t.Context()); err != nil || n != 0 {
		t.Fatalf("Rewrap again = %d, %v; want 0", n, err)
	}

	after := open(t, pool, fresh)
	if err := after.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, value := range stored {
		mustHold(t, after, path, value)
	}
	if err := before.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), keys(t, fresh).IDs()[0]) {
		t.Errorf("Ready with only the old key: %v", err)
	}
}

func TestWrongKey(t *testing.T) {
	pool, right, wrong := database(t), sealed.GenerateKey(), sealed.GenerateKey()
	path, _ := put(t, open(t, pool, right), "i")
	s := open(t, pool, wrong)
	_, gotten := s.Get(t.Context(), path)
	_, ensured := s.Ensure(t.Context(), path, json.RawMessage(`{}`))
	_, rewrapped := s.Rewrap(t.Context())
	for what, err := range map[string]error{"Get": gotten, "Ensure": ensured, "Rewrap": rewrapped, "Ready": s.Ready(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), keys(t, right).IDs()[0]) || !strings.Contains(err.Error(), keys(t, wrong).IDs()[0]) {
			t.Errorf("%s: the error must name the missing and the given key: %v", what, err)
		} else if strings.Contains(err.Error(), right) || strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: the error contains a key: %v", what, err)
		}
	}
}

// Rewrap brings the others under the first key if it cannot unwrap some.
func TestRewrapGoesOn(t *testing.T) {
	pool, lost, old, fresh := database(t), sealed.GenerateKey(), sealed.GenerateKey(), sealed.GenerateKey()
	put(t, open(t, pool, lost), "a")
	put(t, open(t, pool, lost), "b")
	damaged, _ := put(t, open(t, pool, old), "c")
	path, value := put(t, open(t, pool, old), "d")
	mustExec(t, pool, "UPDATE sealed_secrets SET wrapped_key = 'x' WHERE path = $1", damaged.String())

	n, err := open(t, pool, fresh, old).Rewrap(t.Context())
	if n != 1 {
		t.Errorf("Rewrap changed %d secrets, want 1", n)
	}
	lostID := keys(t, lost).IDs()[0]
	if err == nil || !strings.Contains(err.Error(), damaged.String()) || strings.Count(err.Error(), lostID) != 1 {
		t.Errorf("Rewrap: %v", err)
	}
	mustHold(t, open(t, pool, fresh), path, value)
}

// Rewrap loses no value that replicas write at the same time, and may run several times at
// once.
func TestRewrapWhileOthersWrite(t *testing.T) {
	pool, old, fresh := database(t), sealed.GenerateKey(), sealed.GenerateKey()
	before, both := open(t, pool, old), open(t, pool, fresh, old)
	const secrets = 40
	for i := range secrets {
		put(t, before, fmt.Sprint(i))
	}
	var all sync.WaitGroup
	newest := make([]json.RawMessage, secrets)
	for i := range secrets {
		all.Go(func() {
			newest[i] = json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))
			if err := before.Put(t.Context(), credhub.SeedPath(fmt.Sprint(i), "b"), newest[i]); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		all.Go(func() {
			if _, err := both.Rewrap(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if _, err := both.Rewrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := open(t, pool, fresh)
	for i := range secrets {
		mustHold(t, after, credhub.SeedPath(fmt.Sprint(i), "b"), newest[i])
	}
}
