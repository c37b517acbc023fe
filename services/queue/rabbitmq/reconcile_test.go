package rabbitmq

import (
	"context"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// Instances from before an upgrade get the policies that they lack, and those whose
// policies were changed by hand get theirs back.
func TestKeepPutsPoliciesRight(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "keep")
	inst := provisioned(t, b, "old", func(i *instance) { i.Plan.QueueSize = 1 << 20 })
	c := b.api.client(testContext(t))
	vhost := b.names.vhost(inst.Name)
	if _, err := c.DeleteOperatorPolicy(vhost, streamPolicy); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteOperatorPolicy(vhost, policy); err != nil {
		t.Fatal(err)
	}
	if _, err := servicetest.Once(b).Reconcile(testContext(t), []Plan{inst.Plan}, []instance{inst}); err != nil {
		t.Fatal(err)
	}
	lengths, err := lengthsOf(c)
	if err != nil {
		t.Fatal(err)
	}
	if !lengths[vhost].inSync(inst.Plan, b.frame) {
		t.Errorf("operator policies: %v", lengths[vhost])
	}
}

// A server that lets connections have larger frames than the configuration says is
// not set up.
func TestFramesAreAsConfigured(t *testing.T) {
	b := newServer(t).backend(t, "frames")
	inst := provisioned(t, b, "i", nil)
	dialled(t, bound(t, b, inst, "b", `{}`))
	eventually(t, "the server is ready", func() bool { return b.Ready(testContext(t)) == nil })
	b.frame = minFrame
	eventually(t, "the server's frames are too large", func() bool { return b.Ready(testContext(t)) != nil })
	expect(t, b.Ready(testContext(t)), "set frame_max = 4096 in the server's rabbitmq.conf")
}

// Whatever a binding holds open does not hold up its unbind, nor the other's.
func TestUnbindWithMuchOpen(t *testing.T) {
	b := newServer(t).backend(t, "much")
	inst := provisioned(t, b, "much", func(i *instance) { i.Plan.Connections, i.Plan.Queues = 30, 400 })
	mine, theirs := newBinding(t, inst, "mine", `{}`), newBinding(t, inst, "theirs", `{}`)
	credentials, err := servicetest.Once(b).Bind(testContext(t), inst, mine)
	if err != nil {
		t.Fatal(err)
	}
	other, err := servicetest.Once(b).Bind(testContext(t), inst, theirs)
	if err != nil {
		t.Fatal(err)
	}
	dialled(t, other.Values)
	for i := range 20 {
		s := dialled(t, credentials.Values)
		for range 50 {
			ch, err := s.conn.Channel()
			if err != nil {
				t.Fatal(err)
			}
			_ = ch
		}
		must(t, s, func(ch *amqp.Channel) error {
			for j := range 20 {
				if _, err := ch.QueueDeclare(fmt.Sprint("exclusive ", i, " ", j), false, true, true, false, nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, bd := range []binding{theirs, mine} {
		start := time.Now()
		if err := servicetest.Patient(b).Unbind(testContext(t), inst, bd); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("the unbind took %s", took)
		}
	}
}

// Exchanges and bindings have no limit on the server. A deprovision that thousands
// of them make too long for one attempt gets further with each.
func TestDeprovisionWithManyBindings(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "many")
	inst := provisioned(t, b, "many", nil)
	s := dialled(t, bound(t, b, inst, "b", `{}`))
	must(t, s, declares("q", nil))
	must(t, s, func(ch *amqp.Channel) error {
		for i := range 1000 {
			if err := ch.ExchangeDeclare(fmt.Sprint("e", i), "topic", true, false, false, true, nil); err != nil {
				return err
			}
			if err := ch.QueueBind("q", fmt.Sprint("k.", i), "amq.topic", true, nil); err != nil {
				return err
			}
		}
		_, err := ch.QueueDeclarePassive("q", true, false, false, false, nil) // the server has done all
		return err
	})
	short, cancel := context.WithTimeout(testContext(t), 2*time.Second)
	defer cancel()
	if err := servicetest.Once(b).Deprovision(short, inst); err != nil {
		var left []any
		if err := server.ask(testContext(t), "/api/exchanges/"+b.names.vhost(inst.Name), &left); err == nil && len(left) > 1000 {
			t.Errorf("%d exchanges are left after an attempt", len(left))
		}
	}
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
}
