package operator

import (
	"context"

	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/services"
)

// Server is a server of a backend; sizes are in bytes.
type Server struct {
	Server string `json:"server"`
	Ready  bool   `json:"ready"`
	// Reason says why the server is not ready.
	Reason  string `json:"reason,omitempty"`
	Drained bool   `json:"drained"`
	// Instances are on the server; the catalog allows MostInstances (0: any number).
	Instances     int     `json:"instances"`
	MostInstances int     `json:"capacity_instances,omitempty"`
	Storage       Amounts `json:"storage"`
	Memory        Amounts `json:"memory"`
}

// Amounts are how much the plans of a server's instances promise, how much the catalog
// allows to be promised, and what the server reports; 0: unknown.
type Amounts struct {
	Promised services.Size `json:"promised"`
	Capacity services.Size `json:"capacity,omitempty"`
	Free     services.Size `json:"free,omitempty"`
	Total    services.Size `json:"total,omitempty"`
}

func newServer(l placement.Load) Server {
	c := l.Server.Capacity
	return Server{
		Server: l.Server.Key(), Ready: l.Unreachable == "", Reason: l.Unreachable, Drained: l.Server.Drain,
		Instances: l.Instances, MostInstances: c.Instances,
		Storage: Amounts{l.Promised.Storage, c.Storage, l.Free.Storage, l.Total.Storage},
		Memory:  Amounts{l.Promised.Memory, c.Memory, l.Free.Memory, l.Total.Memory},
	}
}

// Servers asks the servers of all backends how they are and lists them.
func (o *Operator) Servers(ctx context.Context) ([]Server, error) {
	o.Placement.Check(ctx, o.Catalog.Servers())
	rows := []Server{}
	for _, b := range o.Catalog.Backends() {
		loads, err := o.Placement.Loads(ctx, o.Store.Pool, b.Name, "")
		if err != nil {
			return nil, err
		}
		rows = append(rows, convert(loads, newServer)...)
	}
	return rows, nil
}
