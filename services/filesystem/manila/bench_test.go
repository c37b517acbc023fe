package manila

import (
	"errors"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func isNotYet(err error) bool {
	_, ok := errors.AsType[*services.NotYetError](err)
	return ok
}

// What an instance costs, beside the calls of Manila that it costs at least, in a project that
// exists: to make and delete a share, and to allow and deny access.
func BenchmarkVerbs(b *testing.B) {
	backend := newCloud(b).backend(b, "mbench")
	verbs, ctx := servicetest.Patient(backend), testContext(b)
	raw := provisioned(b, backend, nil)
	p := inside(b, backend, raw)
	spent := map[string]time.Duration{}
	timed := func(name string, call func() error) {
		began := time.Now()
		if err := call(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		spent[name] += time.Since(began)
	}
	n := 0
	for ; b.Loop(); n++ {
		inst := newInstance(b, nil)
		bd := newBinding(b, inst, "b", access.ReadWrite)
		timed("provision", func() error { return verbs.Provision(ctx, inst) })
		timed("bind", func() error { _, err := verbs.Bind(ctx, inst, bd); return err })
		timed("unbind", func() error { return verbs.Unbind(ctx, inst, bd) })
		timed("deprovision", func() error { return verbs.Deprovision(ctx, inst) })
		timed("raw-share", func() error { return rawShare(b, p, inst) })
		timed("raw-allow", func() error { return rawAllow(b, p, inst, backend.names.identity(bd.Name)) })
		timed("raw-deny", func() error { return rawDeny(b, p, inst) })
		timed("raw-delete-share", func() error { return rawDelete(b, p, inst) })
	}
	for name, all := range spent {
		b.ReportMetric(float64(all.Microseconds())/float64(n)/1000, "ms/"+name)
	}
}

// poll is how often the raw calls ask.
const poll = 20 * time.Millisecond

func until(b *testing.B, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		time.Sleep(poll)
	}
}

func rawShare(b *testing.B, p project, inst instance) error {
	if err := p.create(testContext(b), "raw", inst, ""); err != nil {
		return err
	}
	return until(b, func() (bool, error) {
		found, err := p.sharesOf(testContext(b), inst.Name)
		return err == nil && found[0].Status == "available", err
	})
}

func rawAllow(b *testing.B, p project, inst instance, identity string) error {
	found, err := p.sharesOf(testContext(b), inst.Name)
	if err != nil {
		return err
	}
	if err := p.allow(testContext(b), found[0].ID, grant{Type: cephx, To: identity, Level: "rw"}); err != nil {
		return err
	}
	return until(b, func() (bool, error) {
		rules, err := p.rules(testContext(b), found[0].ID)
		return err == nil && rules[0].State == "active", err
	})
}

func rawDeny(b *testing.B, p project, inst instance) error {
	found, err := p.sharesOf(testContext(b), inst.Name)
	if err != nil {
		return err
	}
	return until(b, func() (bool, error) {
		rules, err := p.rules(testContext(b), found[0].ID)
		if err != nil || len(rules) == 0 {
			return true, err
		}
		if rules[0].leaving() {
			return false, nil
		}
		return false, p.deny(testContext(b), found[0].ID, rules[0].ID)
	})
}

func rawDelete(b *testing.B, p project, inst instance) error {
	return until(b, func() (bool, error) {
		found, err := p.sharesOf(testContext(b), inst.Name)
		if err != nil || len(found) == 0 {
			return true, err
		}
		if found[0].Status != "available" {
			return false, nil
		}
		return false, p.delete(testContext(b), found[0].ID)
	})
}
