package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/store"
)

func newInstances() *cobra.Command {
	return newNoun("instances", "List service instances, restore deleted ones, and forget lost ones",
		newInstancesList(), newInstancesShow(), newRestore(), newPurge(), newAdopt(), newForget())
}

func newInstancesList() *cobra.Command {
	var f operator.Filter
	cmd := list(verb{
		use: "list", short: "List instances", needs: stateOnly(), wide: true,
		long: `List shows the instances that match all filters. It reads only the state. With -o wide it
also shows each instance's resource (its name on the backend's server), organization and
space. For the names it opens the backends, as serve does, but makes no calls to them.`,
	}, instanceTable(), func(ctx context.Context, s *session) ([]operator.Instance, error) {
		if s.output.format == "wide" || f.Resource != "" {
			s.openBackends(ctx)
		}
		return s.Instances(ctx, f)
	})
	filterFlags(cmd, &f, operator.InstanceStatuses())
	cmd.Flags().BoolVar(&f.Condition, "condition", false, "only instances with a condition, such as over quota")
	cmd.Flags().BoolVar(&f.Behind, "behind", false, "only instances whose maintenance version differs from their plan's")
	cmd.Flags().StringVar(&f.Resource, "resource", "", "only the instance with this name on the backend's server, such as a database's name")
	return cmd
}

// filterFlags adds the flags that instances, bindings and operations have in common, and
// --status if there are statuses.
func filterFlags(cmd *cobra.Command, f *operator.Filter, statuses []string) {
	flags := cmd.Flags()
	flags.StringVar(&f.Platform, "platform", "", "only of this platform, by its name in the catalog")
	flags.StringVar(&f.Organization, "organization", "", "only of this organization, by its GUID")
	flags.StringVar(&f.Space, "space", "", "only of this space, by its GUID")
	flags.StringVar(&f.Service, "service", "", "only of this service, by name or ID")
	flags.StringVar(&f.Plan, "plan", "", "only of this plan, by name or ID")
	flags.StringVar(&f.Server, "server", "", "only on this server, as 'chandler servers' names it: backend, or backend/server")
	if len(statuses) > 0 {
		flags.StringVar(&f.Status, "status", "", "only with this status: "+strings.Join(statuses, ", "))
	}
	flags.IntVar(&f.Limit, "limit", 0, "at most this many (default: all)")
}

// openBackends opens the backends of a session that has only the state, for the names of
// resources. Where that fails, such as for a missing variable, the names are left out.
func (s *session) openBackends(ctx context.Context) {
	s.server.NamesResources(ctx)
	s.Operator = s.server.Operator()
}

func instanceTable() table[operator.Instance] {
	return table[operator.Instance]{
		[]string{"ID", "PLATFORM", "SERVICE", "PLAN", "SERVER", "STATUS", "CREATED", "KEPT UNTIL", "MAINTENANCE", "CONDITION", "RESOURCE", "ORGANIZATION", "SPACE"},
		func(i operator.Instance) []string {
			return []string{
				i.ID, i.Platform, i.Service, i.Plan, i.Server, string(i.Status), timeText(i.CreatedAt), optionalTime(i.RetainedUntil),
				maintenance(i), i.Condition, i.Resource, i.OrganizationID, i.SpaceID,
			}
		}, 3,
	}
}

// maintenance is the instance's version, and its plan's if that differs.
func maintenance(i operator.Instance) string {
	if i.PlanVersion == "" {
		return i.MaintenanceVersion
	}
	return cmp.Or(i.MaintenanceVersion, "none") + ", behind " + i.PlanVersion
}

func newInstancesShow() *cobra.Command {
	return verb{
		use: "show ID", short: "Show an instance with its resource, bindings, operations and audit record", args: cobra.ExactArgs(1), needs: stateOnly(),
		long: `Show prints what the state records about an instance. It includes the name on the
backend's server if the catalog's variables are set.`,
		do: func(ctx context.Context, s *session) error {
			s.openBackends(ctx)
			d, err := s.Instance(ctx, s.args[0])
			if err != nil {
				return err
			}
			if err := s.show(d, "id", d.ID, "platform", d.Platform, "service", d.Service, "plan", d.Plan, "server", d.Server, "status", string(d.Status),
				"resource", d.Resource, "maintenance version", maintenance(d.Instance), "kept until", optionalTime(d.RetainedUntil),
				"made under", d.ResourceID, "condition", d.Condition, "condition reason", d.ConditionReason,
				"organization", d.OrganizationID, "space", d.SpaceID); err != nil || s.output.format == "json" {
				return err
			}
			return printHistory(s, d)
		},
	}.command()
}

func printHistory(s *session, d operator.InstanceDetails) error {
	s.printf("\nbindings\n")
	if err := bindingTable().print(s.out, s.output, d.Bindings); err != nil {
		return err
	}
	s.printf("\noperations, latest first\n")
	if err := operationTable().print(s.out, s.output, d.Operations); err != nil {
		return err
	}
	for _, op := range d.Operations {
		if op.State == store.InProgress && op.LastError != "" {
			s.printf("last error of %s: %s\n", op.ID, op.LastError)
		}
	}
	s.printf("\naudit\n")
	return auditTable().print(s.out, s.output, d.Audit)
}
