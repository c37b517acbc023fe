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
	// Reader makes a new reader that the delivery serves.
	Reader func() credhub.Reader
	// Read reads what reference names, as an application does, with the rights of as
	// only. ok is false if that is refused or nothing is there.
	Read func(t *testing.T, reference map[string]any, as credhub.Reader) (value json.RawMessage, ok bool)
}

// RunDelivery checks deliveries against the contract of credhub.Delivery.
func RunDelivery(t *testing.T, d Deliveries) {
	t.Helper()
	for name, run := range map[string]func(*testing.T, delivery){
		"only its reader reads":       readsAlone,
		"a repeated Deliver replaces": replaces,
		"Withdraw removes":            withdraws,
		"several replicas":            replicasShare,
		"hostile identifiers":         hostileReaders,
		"ended contexts":              deliveryContextsEnd,
		"an unknown reader":           refusesReaders,
		"no object":                   refusesNoObject,
	} {
		t.Run(name, func(t *testing.T) { run(t, delivery{d, d.Open(t)}) })
	}
}

// delivery is a delivery under test.
type delivery struct {
	Deliveries
	credhub.Delivery
}

// reads fails t unless as reads want from what was delivered to r; nil: nothing.
func (d delivery) reads(t *testing.T, r, as credhub.Reader, want json.RawMessage) {
	t.Helper()
	got, ok := d.Read(t, d.Reference(r), as)
	switch {
	case want == nil && ok:
		t.Errorf("%+v reads what was delivered to %+v: %s", as, r, got)
	case want != nil && !ok:
		t.Errorf("%+v cannot read what was delivered to %+v", as, r)
	case want != nil:
		if err := equal(want, got); err != nil {
			t.Error(err)
		}
	}
}

// deliver delivers a new value.
func (d delivery) deliver(t *testing.T, r credhub.Reader) json.RawMessage {
	t.Helper()
	v := value()
	if err := errors.Join(d.Check(r), d.Deliver(t.Context(), r, v)); err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	return v
}

func (d delivery) withdraw(t *testing.T, r credhub.Reader) {
	t.Helper()
	if err := d.Withdraw(t.Context(), r); err != nil {
		t.Fatalf("Withdraw: %v", err)
	}
}

func readsAlone(t *testing.T, d delivery) {
	if err := d.Ready(t.Context()); err != nil {
		t.Fatalf("Ready: %v", err)
	}
	one, other := d.Reader(), d.Reader()
	v, w := d.deliver(t, one), d.deliver(t, other)
	d.reads(t, one, one, v)
	d.reads(t, other, other, w)
	d.reads(t, one, other, nil)
	d.reads(t, other, one, nil)
	text, err := json.Marshal(d.Reference(one))
	if err != nil || len(text) < 10 {
		t.Errorf("the reference is %s: %v", text, err)
	}
	if strings.Contains(string(text), decode(v).(map[string]any)["password"].(string)) {
		t.Error("the reference contains the secret")
	}
	d.withdraw(t, one)
	d.withdraw(t, other)
}

func replaces(t *testing.T, d delivery) {
	r := d.Reader()
	var v json.RawMessage
	for range 3 {
		v = d.deliver(t, r)
	}
	if err := d.Deliver(t.Context(), r, v); err != nil {
		t.Error(err)
	}
	d.reads(t, r, r, v)
}

func withdraws(t *testing.T, d delivery) {
	r := d.Reader()
	other := r
	other.BindingID = rand.Text()
	v := d.deliver(t, other)
	for range 2 {
		d.withdraw(t, r)
		d.reads(t, r, r, nil)
		d.reads(t, r, r, d.deliver(t, r))
	}
	d.withdraw(t, r)
	d.reads(t, r, r, nil)
	d.reads(t, other, other, v)
}

func replicasShare(t *testing.T, d delivery) {
	replicas := []credhub.Delivery{d.Delivery, d.Open(t), d.Open(t), d.Open(t)}
	r, v := d.Reader(), value()
	for _, verb := range []struct {
		call func(credhub.Delivery) error
		want json.RawMessage
	}{
		{func(replica credhub.Delivery) error { return replica.Deliver(t.Context(), r, v) }, v},
		{func(replica credhub.Delivery) error { return replica.Withdraw(t.Context(), r) }, nil},
	} {
		var group sync.WaitGroup
		for i := range 4 * len(replicas) {
			group.Go(func() {
				if err := verb.call(replicas[i%len(replicas)]); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, replica := range replicas {
			reader := d
			reader.Delivery = replica
			reader.reads(t, r, r, verb.want)
		}
	}
}

func hostileReaders(t *testing.T, d delivery) {
	tag, seen := strings.ToLower(rand.Text()), map[string]string{}
	for _, id := range []string{"a", "A", "..", ".", "a/b", "a%2Fb", "ä", "a b", strings.Repeat("x", 200), "a=b", "{{name}}", "*"} {
		r := d.Reader()
		r.BindingID = tag + id
		if d.Check(r) != nil {
			continue // a refusal is safe
		}
		reference := strings.ToLower(fmt.Sprint(d.Reference(r)))
		if other, taken := seen[reference]; taken {
			t.Errorf("the bindings %q and %q have the same reference", id, other)
		}
		seen[reference] = id
		d.reads(t, r, r, d.deliver(t, r))
		d.withdraw(t, r)
	}
	if len(seen) == 0 {
		t.Error("Check refuses all of them")
	}
}

func deliveryContextsEnd(t *testing.T, d delivery) {
	r := d.Reader()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for verb, err := range map[string]error{
		"Deliver": d.Deliver(ended, r, value()), "Withdraw": d.Withdraw(ended, r), "Ready": d.Ready(ended),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	d.reads(t, r, r, nil)
}

// refusesReaders requires an error for the user if the request does not say who reads.
func refusesReaders(t *testing.T, d delivery) {
	r := d.Reader()
	r.AppID, r.ClientID, r.Platform, r.Namespace = "", "", "", ""
	if d.Check(r) == nil {
		t.Error("Check accepts an unknown reader")
	}
}

func refusesNoObject(t *testing.T, d delivery) {
	r := d.Reader()
	for _, v := range []string{`"secret-text"`, `[]`, `null`, `{`, ``} {
		if err := d.Deliver(t.Context(), r, json.RawMessage(v)); err == nil || strings.Contains(err.Error(), "secret-text") {
			t.Errorf("Deliver of %s: %v", v, err)
		}
	}
	d.reads(t, r, r, nil)
}
