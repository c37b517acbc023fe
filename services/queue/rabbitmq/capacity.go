package rabbitmq

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

var _ services.CapacityReporter = (*backend)(nil)

// Capacity implements services.CapacityReporter: the memory that the cluster's running nodes may
// use before they block who publishes (RabbitMQ documentation, "Memory Alarms"). Of
// a disk a node tells what is left, and not how large it is.
func (b *backend) Capacity(ctx context.Context) (capacity services.Capacity, err error) {
	c, err := b.api.client(ctx)
	if err != nil {
		return capacity, err
	}
	nodes, err := c.ListNodes()
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
