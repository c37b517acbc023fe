package credtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/credhub"
)

// Deliveries is what RunDelivery needs to know of a delivery.
type Deliveries struct {
	// Open returns a delivery as another replica of the broker would open it.
	Open func(t *testing.T) credhub.Delivery
	// Reader makes a reader whom the delivery serves, like no other.
	Reader func() credhub.Reader
	// Same makes another binding of the same reader.
	Same func(credhub.Reader) credhub.Reader
	// Read reads what reference names, with the rights of as and nothing else; it
	// is what an application does. ok is false where that is refused, or nothing
	// is there.
	Read func(t *testing.T, reference map[string]any, as credhub.Reader) (value json.RawMessage, ok bool)
}

// RunDelivery holds deliveries to the contract of credhub.Delivery.
func RunDelivery(t *testing.T, d Deliveries) {
	t.Helper()
	for name, run := range map[string]func(*testing.T, Deliveries){
		"its reader alone reads":     readsAlone,
		"a repetition replaces":      replaces,
		"withdrawn is gone":          withdraws,
		"several replicas":           replicasShare,
		"hostile identifiers":        hostileReaders,
		"ended contexts":             deliveryContextsEnd,
		"who cannot read is refused": refusesReaders,
		"no object":                  refusesNoObject,
	} {
		t.Run(name, func(t *testing.T) { run(t, d) })
	}
}

// reads wants as to read what was delivered to r, or not to.
func (d Deliveries) reads(t *testing.T, from credhub.Delivery, r, as credhub.Reader, want json.RawMessage) {
	t.Helper()
	got, ok := d.Read(t, from.Reference(r), as)
	switch {
	case want == nil && ok:
		t.Errorf("%+v is read by %+v: %s", r, as, got)
	case want != nil && !ok:
		t.Errorf("%+v is not read by %+v", r, as)
	case want != nil:
		if err := equal("Read", want, got); err != nil {
			t.Error(err)
		}
	}
}

func deliver(t *testing.T, to credhub.Delivery, r credhub.Reader) json.RawMessage {
	t.Helper()
	v := value()
	if err := to.Check(r); err != nil {
		t.Fatalf("Check: %v", err)
	}
	if err := to.Deliver(t.Context(), r, v); err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	return v
}

func readsAlone(t *testing.T, d Deliveries) {
	to := d.Open(t)
	if err := to.Ready(t.Context()); err != nil {
		t.Fatalf("Ready: %v", err)
	}
	one, other := d.Reader(), d.Reader()
	v, w := deliver(t, to, one), deliver(t, to, other)
	d.reads(t, to, one, one, v)
	d.reads(t, to, other, other, w)
	d.reads(t, to, one, other, nil)
	d.reads(t, to, other, one, nil)
	text, err := json.Marshal(to.Reference(one))
	if err != nil || len(text) < 10 {
		t.Errorf("the reference is %s: %v", text, err)
	}
	var held map[string]string
	if err := json.Unmarshal(v, &held); err != nil || strings.Contains(string(text), held["password"]) {
		t.Error("the reference holds the secret")
	}
	for _, r := range []credhub.Reader{one, other} {
		if err := to.Withdraw(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
}

func replaces(t *testing.T, d Deliveries) {
	to, r := d.Open(t), d.Reader()
	var v json.RawMessage
	for range 3 {
		v = deliver(t, to, r)
	}
	if err := to.Deliver(t.Context(), r, v); err != nil {
		t.Error(err)
	}
	d.reads(t, to, r, r, v)
}

func withdraws(t *testing.T, d Deliveries) {
	to, r := d.Open(t), d.Reader()
	kept := d.Same(r)
	v := deliver(t, to, kept)
	for range 2 {
		if err := to.Withdraw(t.Context(), r); err != nil {
			t.Fatalf("Withdraw: %v", err)
		}
		d.reads(t, to, r, r, nil)
		w := deliver(t, to, r)
		d.reads(t, to, r, r, w)
	}
	if err := to.Withdraw(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	d.reads(t, to, r, r, nil)
	d.reads(t, to, kept, kept, v) // another binding of the same reader
}

func replicasShare(t *testing.T, d Deliveries) {
	replicas := []credhub.Delivery{d.Open(t), d.Open(t), d.Open(t), d.Open(t)}
	r, v := d.Reader(), value()
	var group sync.WaitGroup
	for _, replica := range replicas {
		for range 4 {
			group.Go(func() {
				if err := replica.Deliver(t.Context(), r, v); err != nil {
					t.Errorf("Deliver: %v", err)
				}
			})
		}
	}
	group.Wait()
	d.reads(t, replicas[0], r, r, v)
	for _, replica := range replicas {
		group.Go(func() {
			if err := replica.Withdraw(t.Context(), r); err != nil {
				t.Errorf("Withdraw: %v", err)
			}
		})
	}
	group.Wait()
	d.reads(t, replicas[1], r, r, nil)
}

func hostileReaders(t *testing.T, d Deliveries) {
	to, tag := d.Open(t), strings.ToLower(rand.Text())
	seen := map[string]string{}
	for _, id := range []string{"a", "A", "..", ".", "a/b", "a%2Fb", "ä", "a b", strings.Repeat("x", 200), "a=b", "{{name}}", "*"} {
		r := d.Reader()
		r.BindingID = tag + id
		if to.Check(r) != nil {
			continue // refused is safe
		}
		reference, err := json.Marshal(to.Reference(r))
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[strings.ToLower(string(reference))]; taken {
			t.Errorf("the bindings %q and %q have one reference", id, other)
		}
		seen[strings.ToLower(string(reference))] = id
		v := deliver(t, to, r)
		d.reads(t, to, r, r, v)
		if err := to.Withdraw(t.Context(), r); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	if len(seen) == 0 {
		t.Error("all are refused")
	}
}

func deliveryContextsEnd(t *testing.T, d Deliveries) {
	to, r := d.Open(t), d.Reader()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for verb, err := range map[string]error{
		"Deliver": to.Deliver(ended, r, value()), "Withdraw": to.Withdraw(ended, r), "Ready": to.Ready(ended),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	d.reads(t, to, r, r, nil)
}

// refusesReaders wants words for the user where nothing says who would read.
func refusesReaders(t *testing.T, d Deliveries) {
	r := d.Reader()
	r.AppID, r.ClientID, r.Platform, r.Namespace = "", "", "", ""
	if err := d.Open(t).Check(r); err == nil {
		t.Error("a reader that nobody knows is taken")
	}
}

func refusesNoObject(t *testing.T, d Deliveries) {
	to, r := d.Open(t), d.Reader()
	for _, v := range []string{`"secret-text"`, `[]`, `null`, `{`, ``} {
		if err := to.Deliver(t.Context(), r, json.RawMessage(v)); err == nil || strings.Contains(fmt.Sprint(err), "secret-text") {
			t.Errorf("%s: %v", v, err)
		}
	}
	d.reads(t, to, r, r, nil)
}
