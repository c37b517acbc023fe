package nats

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// A binding that an earlier version made may do no more than its parameters say
// once it is verified, with the credentials that its application has.
func TestVerify(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	b, ctx := server.backend(t), testContext(t)
	inst := b.provisioned(t, newInstance("verify", nil))
	bd := newBinding(t, inst, "b", func(p *BindingParams) { p.Publish, p.Subscribe = []string{"a"}, []string{"a"} })
	before, err := servicetest.Patient(b).Bind(ctx, inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.account(ctx, inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	a.scope(bd.Name).Template.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
	if err := servicetest.ToTheEnd(ctx, a.push); err != nil {
		t.Fatal(err)
	}
	verify := func(bd binding) {
		t.Helper()
		if err := servicetest.ToTheEnd(ctx, func(ctx context.Context) error { return servicetest.Once(b).Verify(ctx, inst, bd) }); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		verify(bd)
	}
	c := dialled(t, before.Values)
	err = c.during(ctx, func(ctx context.Context) error {
		in, err := c.conn.SubscribeSync("a")
		if err != nil {
			return err
		}
		if err := c.conn.PublishRequest("a", "payments.approve", nil); err != nil {
			return err
		}
		m, err := in.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		if err := m.Respond(nil); err != nil {
			return err
		}
		return c.flush(ctx)
	})
	if !isRefusal(err) {
		t.Errorf("it may still answer itself: %v", err)
	}
	after, err := servicetest.Patient(b).Bind(ctx, inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the credentials changed (-before +after):\n%s", diff)
	}
	gone := newBinding(t, inst, "gone", nil)
	verify(gone)
	found, err := b.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(found, func(f services.Resource) bool { return f.Binding == gone.Name }) {
		t.Error("a binding that does not exist was made")
	}
	if !slices.ContainsFunc(found, func(f services.Resource) bool { return f.Binding == "" && f.Name == b.ResourceName(inst) }) {
		t.Errorf("the instance is not listed as %q: %v", b.ResourceName(inst), found)
	}
}
