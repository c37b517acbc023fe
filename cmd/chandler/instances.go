package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// instanceRow is an instance as the operator sees it.
type instanceRow struct {
	ID       string `json:"id"`
	Platform string `json:"platform"`
	Service  string `json:"service"`
	Plan     string `json:"plan"`
	// Server is the one of the plan's backend that it is on.
	Server string `json:"server"`
	Status string `json:"status"`
	// KeptUntil is when a deleted instance's data goes.
	KeptUntil *time.Time `json:"kept_until,omitempty"`
	// ResourceID is the ID that the resource was made under, where that is
	// another.
	ResourceID string `json:"resource_id,omitempty"`
	// Resource is what the server calls it, where that could be told.
	Resource  string `json:"resource,omitempty"`
	Condition string `json:"condition,omitempty"`
	// ConditionReason classifies the condition, as the metrics do.
	ConditionReason string `json:"condition_reason,omitempty"`
	// MaintenanceVersion is what it is on, and PlanVersion what its plan is on,
	// where that is another: the platform may upgrade it.
	MaintenanceVersion string    `json:"maintenance_version,omitempty"`
	PlanVersion        string    `json:"plan_maintenance_version,omitempty"`
	OrganizationID     string    `json:"organization_id,omitempty"`
	SpaceID            string    `json:"space_id,omitempty"`
	CreatedAt          time.Time `json:"created_at"`
	UpdatedAt          time.Time `json:"updated_at"`
}

func (a *app) instanceRow(i store.Instance) instanceRow {
	r := instanceRow{
		ID: i.ID, Platform: i.Platform, Service: i.ServiceID, Plan: i.PlanID, Server: i.Server, Status: i.Status, Condition: i.Condition, ConditionReason: i.ConditionReason, MaintenanceVersion: i.MaintenanceVersion,
		KeptUntil: i.KeptUntil, ResourceID: i.ResourceID, OrganizationID: i.OrganizationID, SpaceID: i.SpaceID, CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt,
	}
	if p, ok := a.catalog.Plan(i.ServiceID, i.PlanID); ok {
		r.Service, r.Plan, r.Server = p.Service.Name, p.Name, catalog.ServerKey(p.Backend, i.Server)
		r.Resource = a.resourceName(i, p)
		if p.MaintenanceVersion != i.MaintenanceVersion {
			r.PlanVersion = p.MaintenanceVersion
		}
	}
	if i.Backend != "" {
		r.Server = catalog.ServerKey(i.Backend, i.Server)
	}
	return r
}

// resourceName is what the server calls the instance; empty where the backends are
// not open, or cannot tell.
func (a *app) resourceName(i store.Instance, p *catalog.Plan) string {
	d, ok := a.drivers[catalog.ServerKey(p.Backend, i.Server)]
	if !ok || p.CheckBackend(i.Backend, i.BackendType) != nil {
		return ""
	}
	return d.ResourceName(operation.RawInstance(i, p))
}

// instances reads what the filter selects.
func (a *app) instances(ctx context.Context, f filter) ([]store.Instance, error) {
	return pages(f.limit, func(after string, batch int32) ([]store.Instance, error) {
		return a.store.ListInstances(ctx, a.store.Pool, store.ListInstancesParams{
			After: after, Platform: f.platform, OrganizationID: f.organization, SpaceID: f.space, ServiceIds: f.serviceIDs, PlanIds: f.planIDs,
			Backend: f.backend, Server: f.onServer, Status: f.status, WithCondition: f.condition, Batch: batch,
		})
	}, func(i store.Instance) string { return i.ID })
}

func newInstances() *cobra.Command {
	return newNoun("instances", "Look at service instances, restore deleted ones, and forget lost ones",
		newInstancesList(), newInstancesShow(), newRestore(), newPurge(), newAdopt(), newForget())
}

// instancesList is what "instances list" was asked for.
type instancesList struct {
	filter   filter
	resource string
	behind   bool
}

func newInstancesList() *cobra.Command {
	flags := operatorFlags{wide: true}
	var l instancesList
	cmd := flags.verb("list", "List instances", cobra.NoArgs, openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, _ []string) error {
			if flags.output == "wide" || l.resource != "" {
				a.tryBackends(ctx)
			}
			rows, err := a.listInstances(ctx, l)
			if err != nil {
				return err
			}
			return printInstances(w, flags.output, rows)
		})
	cmd.Long = `List shows the instances that match all filters. It reads only the state. With -o wide it
also shows each instance's resource (its name on the backend's server), organization and
space. For the names it opens the backends, as serve does, but makes no calls to them.`
	l.filter.flags(cmd, "creating, ready, create_failed, delete_failed or kept")
	cmd.Flags().BoolVar(&l.filter.condition, "condition", false, "only those with a condition, such as over quota")
	cmd.Flags().BoolVar(&l.behind, "behind", false, "only those whose maintenance version differs from their plan's")
	cmd.Flags().StringVar(&l.resource, "resource", "", "only the instance with this name on the backend's server, such as a database's name")
	return cmd
}

// listInstances reads the rows. What the database cannot select by is selected here,
// and the limit counts after it.
func (a *app) listInstances(ctx context.Context, l instancesList) ([]instanceRow, error) {
	f, err := l.filter.resolved(a.catalog, store.Creating, store.Ready, store.CreateFailed, store.DeleteFailed, store.Kept)
	if err != nil {
		return nil, err
	}
	limit := f.limit
	if l.resource != "" || l.behind {
		f.limit = 0
	}
	all, err := a.instances(ctx, f)
	if err != nil {
		return nil, err
	}
	rows := []instanceRow{}
	for _, i := range all {
		r := a.instanceRow(i)
		named := l.resource == "" || l.resource == r.Resource || strings.Contains(l.resource, operation.SafeName(i))
		if named && (!l.behind || r.PlanVersion != "") && (limit == 0 || len(rows) < limit) {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func printInstances(w io.Writer, o output, rows []instanceRow) error {
	header := []string{"ID", "PLATFORM", "SERVICE", "PLAN", "SERVER", "STATUS", "CREATED", "KEPT UNTIL", "MAINTENANCE", "CONDITION"}
	cells := func(r instanceRow) []string {
		return []string{
			r.ID, r.Platform, r.Service, r.Plan, r.Server, r.Status, timeText(r.CreatedAt), optionalTime(r.KeptUntil), r.maintenance(), r.Condition,
		}
	}
	if o != "wide" {
		return printRows(w, o, rows, header, cells)
	}
	return printRows(w, o, rows, append(header, "RESOURCE", "ORGANIZATION", "SPACE"), func(r instanceRow) []string {
		return append(cells(r), r.Resource, r.OrganizationID, r.SpaceID)
	})
}

// maintenance is the version, and that of the plan where it is another.
func (r instanceRow) maintenance() string {
	if r.PlanVersion == "" {
		return r.MaintenanceVersion
	}
	return cmp.Or(r.MaintenanceVersion, "none") + ", behind " + r.PlanVersion
}

func newInstancesShow() *cobra.Command {
	var flags operatorFlags
	cmd := flags.verb("show ID", "Show an instance with its resource, bindings, operations and audit record", cobra.ExactArgs(1), openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, args []string) error {
			a.tryBackends(ctx)
			return a.showInstance(ctx, w, flags.output, args[0])
		})
	cmd.Long = `Show prints what the state records about an instance. It includes the name on the
backend's server if the catalog's variables are set.`
	return cmd
}

// instanceDetails is what show prints.
type instanceDetails struct {
	instanceRow
	Bindings   []bindingRow   `json:"bindings"`
	Operations []operationRow `json:"operations"`
	Audit      []auditRow     `json:"audit"`
}

func (a *app) showInstance(ctx context.Context, w io.Writer, o output, id string) error {
	var d instanceDetails
	i, err := a.store.Instance(ctx, a.store.Pool, id)
	gone := store.NotFound(err)
	if err != nil && !gone {
		return err
	}
	if !gone {
		d.instanceRow = a.instanceRow(i)
	}
	if err := a.instanceHistory(ctx, id, &d); err != nil {
		return err
	}
	if gone && len(d.Audit) == 0 {
		return fmt.Errorf("there is no instance %q", id)
	}
	if gone {
		d.ID, d.Status = id, "deleted"
	}
	if o == "json" {
		return printJSON(w, d)
	}
	return printInstance(w, d)
}

func (a *app) instanceHistory(ctx context.Context, id string, d *instanceDetails) error {
	bindings, err := a.store.BindingsOfInstance(ctx, a.store.Pool, id)
	if err != nil {
		return err
	}
	d.Bindings = []bindingRow{}
	for _, b := range bindings {
		d.Bindings = append(d.Bindings, newBindingRow(b))
	}
	if d.Operations, err = a.operations(ctx, filter{instance: id}); err != nil {
		return err
	}
	audit, err := a.store.AuditOfInstance(ctx, a.store.Pool, id)
	if err != nil {
		return err
	}
	d.Audit = []auditRow{}
	for _, e := range audit {
		d.Audit = append(d.Audit, newAuditRow(e))
	}
	return nil
}

func printInstance(w io.Writer, d instanceDetails) error {
	err := printFields(w, "id", d.ID, "platform", d.Platform, "service", d.Service, "plan", d.Plan, "server", d.Server, "status", d.Status,
		"resource", d.Resource, "maintenance version", d.maintenance(), "kept until", optionalTime(d.KeptUntil), "made under", d.ResourceID, "condition", d.Condition, "condition reason", d.ConditionReason, "organization", d.OrganizationID, "space", d.SpaceID)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "\nbindings")
	if err := printBindings(w, "table", d.Bindings); err != nil {
		return err
	}
	fmt.Fprintln(w, "\noperations, latest first")
	if err := printOperations(w, "table", d.Operations); err != nil {
		return err
	}
	for _, op := range d.Operations {
		if op.State == store.InProgress && op.LastError != "" {
			fmt.Fprintf(w, "last error of %s: %s\n", op.ID, op.LastError)
		}
	}
	fmt.Fprintln(w, "\naudit")
	return printAudit(w, "table", d.Audit)
}
