package rabbitmq

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rabbithole "github.com/michaelklishin/rabbit-hole/v3"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The uri is all that an application needs.
func TestUnchangedClient(t *testing.T) {
	b := newServer(t).backend(t, "plain")
	inst := provisioned(t, b, "unchanged", nil)
	conn, err := amqp.Dial(bound(t, b, inst, "b", `{}`)["uri"].(string))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.PublishWithContext(testContext(t), "", q.Name, true, false, amqp.Publishing{Body: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-messages:
		if string(m.Body) != "hello" {
			t.Errorf("%q", m.Body)
		}
	case <-testContext(t).Done():
		t.Error("no message came")
	}
}

// user is what the server keeps of a user.
type user struct {
	Name string   `json:"name"`
	Hash string   `json:"password_hash"`
	Tags []string `json:"tags"`
}

// A repeated bind sets the same password, to the bit, and puts right what
// somebody changed by hand.
func TestRepeatedBind(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "again")
	inst := provisioned(t, b, "again", nil)
	bd := newBinding(t, inst, "b", `{}`)
	first, err := servicetest.Once(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	var before, after user
	path := "/api/users/" + first.Values["username"].(string)
	if err := server.ask(testContext(t), path, &before); err != nil {
		t.Fatal(err)
	}
	c := b.api.client(testContext(t))
	if _, err := c.PutUser(before.Name, rabbithole.UserSettings{Tags: rabbithole.UserTags{"administrator"}, Password: "hunter2"}); err != nil {
		t.Fatal(err)
	}
	again, err := servicetest.Once(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.ask(testContext(t), path, &after); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the user (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the credentials (-first +again):\n%s", diff)
	}
	if len(after.Tags) != 0 {
		t.Errorf("tags: %v", after.Tags)
	}
}

// A bind that ended before it gave permissions leaves a user that belongs to no
// virtual host. It goes with the instance all the same.
func TestDeprovisionFindsUsersWithoutPermissions(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "lost")
	inst := provisioned(t, b, "lost", nil)
	c := b.api.client(ctx)
	name := b.names.user(inst.Name, services.BindingName(inst.ID, "lost"))
	if err := makeUser(c, name, "AAAAAA=="); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if left := server.left(t, "lost"); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// Two brokers on one server do not see each other's.
func TestPrefixes(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	one, two := server.backend(t, "one"), server.backend(t, "two")
	inst := provisioned(t, one, "shared", nil)
	bound(t, one, inst, "b", `{}`)
	provisioned(t, two, "shared", nil)
	if err := servicetest.Patient(two).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	for b, want := range map[*backend]int{one: 2, two: 0} {
		found, err := b.List(ctx)
		if err != nil || len(found) != want {
			t.Errorf("prefix %s: %v, %v", b.names.prefix, found, err)
		}
	}
}

func TestUpdate(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "update")
	small := provisioned(t, b, "update", func(i *instance) { i.Plan.Connections, i.Plan.Queues, i.Plan.QueueMessages = 2, 2, 5 })
	credentials := bound(t, b, small, "b", `{}`)
	s := dialled(t, credentials)
	must(t, s, declares("q", nil))
	if taken := fill(t, s, "q", "m"); taken > 6 {
		t.Errorf("the small plan takes %d messages", taken)
	}
	large := newInstance("update", func(i *instance) { i.Plan.Connections, i.Plan.Queues = 4, 4 })
	if err := servicetest.Once(b).Update(ctx, small, large); err != nil {
		t.Fatal(err)
	}
	if taken := fill(t, s, "q", "m"); taken != 30 {
		t.Errorf("the large plan, without a limit, takes %d messages", taken)
	}
	if in := server.sessions(t, 5, credentials); in != 3 { // and s is one
		t.Errorf("the large plan lets %d more connections in", in)
	}
	if err := servicetest.Once(b).Update(ctx, large, small); err != nil {
		t.Fatal(err)
	}
	if messages := count(t, s, "q"); messages < 35 {
		t.Errorf("going back to the small plan lost messages: %d are left", messages)
	}
	if taken := fill(t, s, "q", "m"); taken != 0 {
		t.Errorf("a queue beyond the small plan's limit took %d messages", taken)
	}
	other := newInstance("update", func(i *instance) { i.Plan.DefaultQueueType = "quorum" })
	for name, verb := range map[string]func() error{
		"check": func() error {
			return b.CheckUpdate(services.UpdateRequest[Plan, InstanceParams]{Previous: small, Instance: other})
		},
		"update": func() error { return servicetest.Once(b).Update(ctx, small, other) },
	} {
		if message, rejected := services.IsRejected(verb()); !rejected || !strings.Contains(message, "make a new instance") {
			t.Errorf("%s, to another default queue type: %q", name, message)
		}
	}
	gone := newInstance("never there", nil)
	if err := servicetest.Once(b).Update(ctx, gone, gone); err == nil {
		t.Error("an absent instance was updated")
	}
}

func count(t *testing.T, s *client, queue string) (messages int) {
	t.Helper()
	must(t, s, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		messages = q.Messages
		return err
	})
	return messages
}

func TestDefaultQueueType(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "type")
	for _, kind := range []string{"classic", "quorum", "stream"} {
		t.Run(kind, func(t *testing.T) {
			inst := provisioned(t, b, kind, func(i *instance) { i.Plan.DefaultQueueType = kind })
			credentials := bound(t, b, inst, "b", `{}`)
			must(t, dialled(t, credentials), declares("q", nil))
			var made struct{ Type string }
			if err := server.ask(testContext(t), "/api/queues/"+credentials["vhost"].(string)+"/q", &made); err != nil || made.Type != kind {
				t.Errorf("%q, %v", made.Type, err)
			}
		})
	}
	t.Run("changed behind the broker's back", func(t *testing.T) {
		inst := provisioned(t, b, "changed", func(i *instance) { i.Plan.DefaultQueueType = "classic" })
		inst.Plan.DefaultQueueType = "quorum"
		err := servicetest.Once(b).Provision(testContext(t), inst)
		if err == nil || !strings.Contains(err.Error(), "default queue type") {
			t.Errorf("%v", err)
		}
	})
}

// A flood of one tenant's ends at his limits; his neighbour goes on.
func TestFlood(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "flood")
	limits := func(i *instance) { i.Plan.Queues, i.Plan.QueueSize, i.Plan.Connections = 5, 64<<10, 5 }
	hostile, quiet := provisioned(t, b, "hostile", limits), provisioned(t, b, "quiet", limits)
	neighbour := dialled(t, bound(t, b, quiet, "b", `{}`))
	credentials := bound(t, b, hostile, "b", `{}`)
	flood := dialled(t, credentials)
	message := strings.Repeat("m", 16<<10)
	for i := range 20 {
		queue := strings.Repeat("q", i+1)
		if flood.channel(testContext(t), declares(queue, nil)) == nil {
			fill(t, flood, queue, message)
		}
	}
	if in := server.sessions(t, 10, credentials); in != 4 { // and flood is one
		t.Errorf("%d more connections were let in", in)
	}
	for _, work := range []func(context.Context) error{
		func(ctx context.Context) error { return neighbour.Write(ctx, "k", "v") },
		neighbour.Ping,
	} {
		if err := work(testContext(t)); err != nil {
			t.Error(err)
		}
	}
	dialled(t, bound(t, b, quiet, "another", `{}`))
}
