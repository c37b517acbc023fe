package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
)

func newServers() *cobra.Command {
	return list(verb{
		use: "servers", short: "Show what the backends' servers hold, and how much capacity they have",
		long: `Servers lists the servers of all backends: the number of instances on each, the storage
and memory that their plans promise, and what the server itself reports as free. A server
that is drained or does not answer gets no new instances.`,
	}, table[operator.Server]{header: []string{"SERVER", "STATE", "INSTANCES", "STORAGE", "MEMORY"}, cells: serverCells},
		func(ctx context.Context, s *session) ([]operator.Server, error) { return s.Servers(ctx) })
}

func serverCells(s operator.Server) []string {
	state := "ready"
	switch {
	case !s.Ready:
		state = "away: " + s.Reason
	case s.Drained:
		state = "drained"
	}
	instances := strconv.Itoa(s.Instances)
	if s.MostInstances > 0 {
		instances = fmt.Sprintf("%d of %d", s.Instances, s.MostInstances)
	}
	return []string{s.Server, state, instances, amountsText(s.Storage), amountsText(s.Memory)}
}

func amountsText(a operator.Amounts) string {
	text := "-"
	switch {
	case a.Capacity > 0:
		text = a.Promised.String() + " of " + a.Capacity.String() + " promised"
	case a.Promised > 0:
		text = a.Promised.String() + " promised"
	}
	if a.Total > 0 {
		text += ", " + a.Free.String() + " of " + a.Total.String() + " free"
	}
	return text
}

func newQuotas() *cobra.Command {
	return list(verb{
		use: "quotas", short: "Show how much of the catalog's quotas is used", needs: stateOnly(),
		long: fmt.Sprintf(`Quotas lists the quotas of the catalog with the number of instances that exist and the
number that is allowed. Of a quota for each of something it lists the %d that use most of it.`, operator.MostSubjects),
	}, table[operator.QuotaUse]{header: []string{"QUOTA", "PLATFORM", "ORGANIZATION", "SPACE", "NAMESPACE", "USED", "ALLOWED"}, cells: func(u operator.QuotaUse) []string {
		return []string{u.Quota, u.Platform, u.Organization, u.Space, u.Namespace, strconv.Itoa(u.Used), strconv.Itoa(u.Allowed)}
	}}, func(ctx context.Context, s *session) ([]operator.QuotaUse, error) { return s.Quotas(ctx) })
}
