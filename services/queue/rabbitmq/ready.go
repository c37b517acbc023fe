package rabbitmq

import (
	"context"
	"fmt"
	"slices"

	"github.com/chandler-broker/chandler/services"
)

// Ready implements services.Readier.
func (b *backend) Ready(ctx context.Context) error {
	me, err := b.api.client(ctx).Whoami()
	if err != nil {
		return explain("ask the server at "+b.api.administrator.endpoint.Host+" who the administrator is", err)
	}
	if !slices.Contains(me.Tags, "administrator") {
		return fmt.Errorf("user %s lacks the tag administrator; give it: rabbitmqctl set_user_tags %s administrator", me.Name, me.Name)
	}
	return b.frames(ctx)
}

// frames reports connections with larger frames, and thus headers, than plans assume.
func (b *backend) frames(ctx context.Context) error {
	var connections []struct {
		FrameMax int64 `json:"frame_max"`
	}
	if err := b.api.get(ctx, "/api/connections?columns=frame_max", &connections); err != nil {
		return explain("ask for the frames of connections", err)
	}
	for _, c := range connections {
		if c.FrameMax > int64(b.frame) {
			return fmt.Errorf("a connection has frames of %d bytes, but frame_max is configured as %d; set frame_max = %d in the server's rabbitmq.conf and restart it, or configure the server's value here", c.FrameMax, b.frame, b.frame)
		}
	}
	return nil
}

// List implements services.Lister.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	c := b.api.client(ctx)
	vhosts, err := c.ListVhosts()
	if err != nil {
		return nil, explain("list virtual hosts", err)
	}
	users, err := c.ListUsers()
	if err != nil {
		return nil, explain("list users", err)
	}
	var found []services.Resource
	for _, v := range vhosts {
		if inst, ok := b.names.vhosts.Instance(v.Name); ok {
			found = append(found, services.Resource{Instance: inst, Name: v.Name})
		}
	}
	for _, u := range users {
		if inst, bound, ok := b.names.users.Binding(u.Name); ok {
			found = append(found, services.Resource{Instance: inst, Binding: bound, Name: u.Name})
		}
	}
	return found, nil
}

// Capacity implements services.CapacityReporter: the memory that running nodes may use before they
// block publishers (RabbitMQ documentation, "Memory Alarms"). The size of disks is unknown.
func (b *backend) Capacity(ctx context.Context) (capacity services.Capacity, err error) {
	nodes, err := b.api.client(ctx).ListNodes()
	if err != nil {
		return capacity, explain("ask the nodes how much memory they have", err)
	}
	for _, n := range nodes {
		if !n.IsRunning {
			continue
		}
		limit, used := services.Size(n.MemLimit), services.Size(n.MemUsed)
		capacity.Total.Memory += limit
		capacity.Free.Memory += max(0, limit-used)
	}
	return capacity, nil
}
