package manila

import (
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// rulesOf are the rules of an instance's share.
func rulesOf(t *testing.T, b *backend, inst instance) []rule {
	t.Helper()
	p, s, err := b.share(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := p.rules(testContext(t), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// A rule in error, which somebody made by hand, marks the access of the whole share as failed. It
// does not keep others from it.
func TestOthersRuleInError(t *testing.T) {
	t.Parallel()
	b := newCloud(t).backend(t, "mtest")
	inst := provisioned(t, b, nil)
	s, p := shareOf(t, b, inst), inside(t, b, inst)
	if err := p.allow(testContext(t), s.ID, grant{Type: cephx, To: "admin", Level: "rw"}); err != nil {
		t.Fatal(err)
	}
	await(t, "waiting until Manila refuses the rule", func() bool {
		rules := rulesOf(t, b, inst)
		return len(rules) == 1 && rules[0].State == "error"
	})
	bd := newBinding(t, inst, "b", access.ReadWrite)
	bound(t, b, inst, bd)
	if err := servicetest.Patient(b).Unbind(testContext(t), inst, bd); err != nil {
		t.Fatal(err)
	}
	if rules := rulesOf(t, b, inst); len(rules) != 1 {
		t.Errorf("%+v", rules)
	}
}

// Cephx identities are global: one that another tenant has gives an error, and neither its key nor a
// rule in error. Once it is free, a repeated bind succeeds.
func TestIdentityTaken(t *testing.T) {
	t.Parallel()
	b := newCloud(t).backend(t, "mtest")
	thief, inst := provisioned(t, b, nil), provisioned(t, b, nil)
	bd := newBinding(t, inst, "b", access.ReadWrite)
	s, p := shareOf(t, b, thief), inside(t, b, thief)
	if err := p.allow(testContext(t), s.ID, grant{Type: cephx, To: b.names.identity(bd.Name), Level: "rw"}); err != nil {
		t.Fatal(err)
	}
	await(t, "waiting until the identity is taken", func() bool { return rulesOf(t, b, thief)[0].State == "active" })
	for range 2 {
		_, err := servicetest.Patient(b).Bind(testContext(t), inst, bd)
		t.Log(err)
		expect(t, err, "Manila could not grant access to "+b.names.identity(bd.Name), "another tenant")
		if strings.Contains(err.Error(), rulesOf(t, b, thief)[0].AccessKey) {
			t.Error("the error contains a key")
		}
	}
	if err := p.deny(testContext(t), s.ID, rulesOf(t, b, thief)[0].ID); err != nil {
		t.Fatal(err)
	}
	await(t, "waiting until the identity is free", func() bool { return len(rulesOf(t, b, thief)) == 0 })
	bound(t, b, inst, bd)
	if got := shareOf(t, b, inst); len(rulesOf(t, b, inst)) != 1 {
		t.Errorf("%+v %+v", got, rulesOf(t, b, inst))
	}
}

// A binding that is made again with another role gets another key.
func TestOtherRole(t *testing.T) {
	t.Parallel()
	b := newCloud(t).backend(t, "mtest")
	inst := provisioned(t, b, nil)
	bd := newBinding(t, inst, "b", access.ReadWrite)
	first := bound(t, b, inst, bd)
	bd.Params.Role = access.ReadOnly
	second := bound(t, b, inst, bd)
	if first.Values["key"] == second.Values["key"] || second.Values["read_only"] != true {
		t.Errorf("%v", second.Values["read_only"])
	}
	if rules := rulesOf(t, b, inst); len(rules) != 1 || rules[0].AccessLevel != "ro" {
		t.Errorf("%d rules", len(rules))
	}
}

func TestBindings(t *testing.T) {
	t.Parallel()
	b := newCloud(t).backend(t, "mtest")
	inst := provisioned(t, b, func(i *instance) { i.Plan.Bindings = 1 })
	first := newBinding(t, inst, "1", access.ReadWrite)
	bound(t, b, inst, first)
	_, err := servicetest.Patient(b).Bind(testContext(t), inst, newBinding(t, inst, "2", access.ReadWrite))
	checkRejected(t, err, "this instance has 1 bindings, and its plan allows 1")
	bound(t, b, inst, first)
}
