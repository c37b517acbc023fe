package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/services"
)

// serverRow is a server of a backend as the operator sees it; sizes in bytes.
type serverRow struct {
	Server  string `json:"server"`
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason,omitempty"` // why it is not
	Drained bool   `json:"drained"`
	// Instances are there, of those that the catalog allows; 0: any number.
	Instances     int `json:"instances"`
	MostInstances int `json:"capacity_instances,omitempty"`
	// Storage and Memory are what the plans of its instances let them take.
	Storage amount `json:"storage"`
	Memory  amount `json:"memory"`
}

// amount is what is promised of a server, of what the catalog allows, and what the
// server itself says that it has; 0: not told.
type amount struct {
	Promised services.Size `json:"promised"`
	Capacity services.Size `json:"capacity,omitempty"`
	Free     services.Size `json:"free,omitempty"`
	Total    services.Size `json:"total,omitempty"`
}

func (a amount) String() string {
	text := "-"
	if a.Promised > 0 || a.Capacity > 0 {
		text = a.Promised.String() + " promised"
	}
	if a.Capacity > 0 {
		text = a.Promised.String() + " of " + a.Capacity.String() + " promised"
	}
	if a.Total > 0 {
		text += ", " + a.Free.String() + " of " + a.Total.String() + " free"
	}
	return text
}

func newServers() *cobra.Command {
	var flags operatorFlags
	cmd := flags.verb("servers", "What the backends' servers hold, and how much room they have", cobra.NoArgs, openOptions{},
		func(ctx context.Context, a *app, w io.Writer, _ []string) error {
			a.placement.Ask(ctx, a.catalog.Servers())
			var rows []serverRow
			for _, b := range a.catalog.Backends() {
				loads, err := a.placement.Loads(ctx, a.store.Pool, b.Name, "")
				if err != nil {
					return err
				}
				for _, l := range loads {
					rows = append(rows, newServerRow(l))
				}
			}
			return printServers(w, flags.output, rows)
		})
	cmd.Long = `Servers lists the servers of all backends: the number of instances on each, the storage
and memory that their plans promise, and what the server itself reports as free. A server
that is drained or does not answer gets no new instances.`
	return cmd
}

func newServerRow(l placement.Load) serverRow {
	c := l.Server.Capacity
	return serverRow{
		Server: l.Server.Key(), Ready: l.Away == "", Reason: l.Away, Drained: l.Server.Drain,
		Instances: l.Instances, MostInstances: c.Instances,
		Storage: amount{l.Promised.Storage, c.Storage, l.Free.Storage, l.Total.Storage},
		Memory:  amount{l.Promised.Memory, c.Memory, l.Free.Memory, l.Total.Memory},
	}
}

func printServers(w io.Writer, o output, rows []serverRow) error {
	return printRows(w, o, rows, []string{"SERVER", "STATE", "INSTANCES", "STORAGE", "MEMORY"}, func(r serverRow) []string {
		state := "ready"
		if r.Drained {
			state = "drained"
		}
		if !r.Ready {
			state = "away: " + r.Reason
		}
		instances := fmt.Sprint(r.Instances)
		if r.MostInstances > 0 {
			instances = fmt.Sprintf("%d of %d", r.Instances, r.MostInstances)
		}
		return []string{r.Server, state, instances, r.Storage.String(), r.Memory.String()}
	})
}
