package broker_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
)

// What belongs to one platform does not exist for another, in every answer:
// these are the answers for what never was.
func TestIsolation(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	made := c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "201")
	c.provision("deleted", on(brokertest.Small), true).want(t, "201")
	c.deprovision("deleted", true).want(t, "200")
	other := c.as("other")
	other.provision("mine", on(brokertest.Small), true).want(t, "201")

	ask := map[string]func(instance, binding string) answer{
		"fetch":         func(i, _ string) answer { a, _ := other.fetch(i); return a },
		"update":        func(i, _ string) answer { return other.update(i, updateTo(brokertest.Large, ""), true) },
		"deprovision":   func(i, _ string) answer { return other.deprovision(i, true) },
		"bind":          func(i, b string) answer { return other.bind(i, b, bound(brokertest.Small, ""), true) },
		"rotate":        func(i, b string) answer { return other.rotate(i, "new", broker.Rotation{PredecessorID: b}) },
		"rotate across": func(_, b string) answer { return other.rotate("mine", "new", broker.Rotation{PredecessorID: b}) },
		"unbind":        func(i, b string) answer { return other.unbind(i, b, true) },
		"get binding":   func(i, b string) answer { return other.fetchBinding(i, b) },
		"poll":          func(i, _ string) answer { state, _ := other.poll(i, "", ""); return answer{word: state} },
		"poll binding":  func(i, b string) answer { state, _ := other.poll(i, b, ""); return answer{word: state} },
	}
	for name, f := range ask {
		t.Run(name, func(t *testing.T) {
			never := f("never", "never")
			for _, instance := range []string{"i", "deleted"} {
				got := f(instance, "b")
				if diff := cmp.Diff(never.word+" "+never.text(), got.word+" "+got.text()); diff != "" {
					t.Errorf("tells another platform that %s exists (-never was +is another's):\n%s", instance, diff)
				}
			}
		})
	}
	for _, send := range []string{"", `{"colour": "red"}`} {
		if a := other.provision("i", with(on(brokertest.Small), send), true).want(t, "Conflict"); a.text() != "the instance id is in use" {
			t.Errorf("the conflict says more than it must: %q", a.text())
		}
	}
	if a := other.bind("mine", "b", bound(brokertest.Small, ""), true).want(t, "Conflict"); a.text() != "the binding id is in use" {
		t.Errorf("the conflict says more than it must: %q", a.text())
	}
	if got := c.fetchBinding("i", "b").want(t, "200"); got.credentials != made.credentials || !c.Backend.Works([]byte(got.credentials)) {
		t.Error("the owner's binding suffered")
	}
	// An ID that is free again is anybody's; its former owner still learns of
	// its own delete, and of nothing else.
	other.provision("deleted", on(brokertest.Small), true).want(t, "201")
	if state, _ := c.poll("deleted", "", ""); state != "Gone" {
		t.Errorf("the former owner polls: %s", state)
	}
}
