package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/user"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
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
	ResourceID     string    `json:"resource_id,omitempty"`
	Condition      string    `json:"condition,omitempty"`
	OrganizationID string    `json:"organization_id,omitempty"`
	SpaceID        string    `json:"space_id,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`
}

func (a *app) instanceRow(i store.Instance) instanceRow {
	r := instanceRow{
		ID: i.ID, Platform: i.Platform, Service: i.ServiceID, Plan: i.PlanID, Server: i.Server, Status: i.Status, Condition: i.Condition,
		KeptUntil: i.KeptUntil, ResourceID: i.ResourceID, OrganizationID: i.OrganizationID, SpaceID: i.SpaceID, CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt,
	}
	if p, ok := a.catalog.Plan(i.ServiceID, i.PlanID); ok {
		r.Service, r.Plan, r.Server = p.Service.Name, p.Name, catalog.ServerKey(p.Backend, i.Server)
	}
	return r
}

func (a *app) instances(ctx context.Context) ([]store.Instance, error) {
	return pages(func(after string) ([]store.Instance, error) {
		return a.store.ListInstances(ctx, a.store.Pool, store.ListInstancesParams{After: after, Batch: pageSize})
	}, func(i store.Instance) string { return i.ID })
}

func newInstances() *cobra.Command {
	var list, show operatorFlags
	return newNoun("instances", "Look at service instances, restore deleted ones, and forget lost ones",
		list.verb("list", "List all instances", cobra.NoArgs, openOptions{},
			func(ctx context.Context, a *app, w io.Writer, _ []string) error {
				return a.listInstances(ctx, w, list.output)
			}),
		show.verb("show ID", "Show an instance with its bindings, operations and audit record", cobra.ExactArgs(1), openOptions{},
			func(ctx context.Context, a *app, w io.Writer, args []string) error {
				return a.showInstance(ctx, w, show.output, args[0])
			}),
		newRestore(), newPurge(), newAdopt(), newForget(),
	)
}

func (a *app) listInstances(ctx context.Context, w io.Writer, o output) error {
	all, err := a.instances(ctx)
	if err != nil {
		return err
	}
	rows := make([]instanceRow, 0, len(all))
	for _, i := range all {
		rows = append(rows, a.instanceRow(i))
	}
	return printRows(w, o, rows, []string{"ID", "PLATFORM", "SERVICE", "PLAN", "SERVER", "STATUS", "CREATED", "KEPT UNTIL", "CONDITION"}, func(r instanceRow) []string {
		return []string{r.ID, r.Platform, r.Service, r.Plan, r.Server, r.Status, timeText(r.CreatedAt), optionalTime(r.KeptUntil), r.Condition}
	})
}

// instanceDetails is what show prints.
type instanceDetails struct {
	instanceRow
	Bindings   []bindingRow   `json:"bindings"`
	Operations []operationRow `json:"operations"`
	Audit      []auditRow     `json:"audit"`
}

type auditRow struct {
	At          time.Time       `json:"at"`
	Action      string          `json:"action"`
	Event       string          `json:"event"`
	Outcome     string          `json:"outcome,omitempty"`
	Platform    string          `json:"platform"`
	Originating json.RawMessage `json:"originating,omitempty"`
	RequestID   string          `json:"request_id,omitempty"`
	BindingID   string          `json:"binding_id,omitempty"`
	OperationID string          `json:"operation_id,omitempty"`
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
	if d.Operations, err = a.operations(ctx, operationFilter{instanceID: id}); err != nil {
		return err
	}
	audit, err := a.store.AuditOfInstance(ctx, a.store.Pool, id)
	if err != nil {
		return err
	}
	d.Audit = []auditRow{}
	for _, e := range audit {
		d.Audit = append(d.Audit, auditRow{
			At: e.At, Action: e.Action, Event: e.Event, Outcome: e.Outcome, Platform: e.Platform, Originating: e.Originating,
			RequestID: e.RequestID, BindingID: e.BindingID, OperationID: e.OperationID,
		})
	}
	return nil
}

func printInstance(w io.Writer, d instanceDetails) error {
	err := printFields(w, "id", d.ID, "platform", d.Platform, "service", d.Service, "plan", d.Plan, "server", d.Server, "status", d.Status,
		"kept until", optionalTime(d.KeptUntil), "made under", d.ResourceID, "condition", d.Condition, "organization", d.OrganizationID, "space", d.SpaceID)
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
	return printRows(w, "table", d.Audit, []string{"AT", "ACTION", "EVENT", "OUTCOME", "PLATFORM", "WHO", "REQUEST", "BINDING"}, func(r auditRow) []string {
		return []string{timeText(r.At), r.Action, r.Event, r.Outcome, r.Platform, string(r.Originating), r.RequestID, r.BindingID}
	})
}

func newForget() *cobra.Command {
	var flags operatorFlags
	var force bool
	cmd := flags.verb("forget ID", "Remove an instance and its credentials from the broker, and leave the backend alone", cobra.ExactArgs(1),
		openOptions{credentials: true},
		func(ctx context.Context, a *app, w io.Writer, args []string) error {
			if !force {
				return usagef("forgetting an instance leaves what its backend holds without an owner; say --force if that is meant")
			}
			if err := a.forget(ctx, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(w, "forgotten: %s; 'chandler orphans' shows what the backend still holds\n", args[0])
			return nil
		})
	cmd.Flags().BoolVar(&force, "force", false, "really do it")
	return cmd
}

// forget halts what is in progress on an instance, waits until nobody works on
// it, and then removes its secrets and its rows, with a note in the audit record.
func (a *app) forget(ctx context.Context, id string) error {
	err := a.store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.store.InstanceForUpdate(ctx, tx, id); store.NotFound(err) {
			return fmt.Errorf("there is no instance %q", id)
		} else if err != nil {
			return err
		}
		unfinished, err := a.store.UnfinishedOperations(ctx, tx, id)
		if err != nil {
			return err
		}
		for _, op := range unfinished {
			if err := a.engine.Supersede(ctx, tx, op); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// A step that is under way notices within seconds, or ends by its own limit.
	limited, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for {
		done, err := a.forgetIdle(limited, id)
		if err != nil || done {
			return err
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("somebody still works on instance %q; try again", id)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// forgetIdle removes the instance if nobody works on it.
func (a *app) forgetIdle(ctx context.Context, id string) (done bool, err error) {
	err = a.store.InTx(ctx, func(tx pgx.Tx) error {
		if done, err = a.store.LockInstance(ctx, tx, id); err != nil || !done {
			return err
		}
		i, err := a.store.InstanceForUpdate(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := a.forgetSecrets(ctx, tx, id); err != nil {
			return err
		}
		return a.forgetRows(ctx, tx, i)
	})
	return done, err
}

func (a *app) forgetSecrets(ctx context.Context, tx pgx.Tx, id string) error {
	bindings, err := a.store.BindingsOfInstance(ctx, tx, id)
	if err != nil {
		return err
	}
	return store.Outside(ctx, tx, func(ctx context.Context) error {
		for _, b := range bindings {
			if err := a.forgetBinding(ctx, b); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) forgetBinding(ctx context.Context, b store.Binding) error {
	if d, ok := a.deliveries[b.Delivery]; ok {
		if err := d.Withdraw(ctx, operation.Reader(b)); err != nil {
			return fmt.Errorf("withdraw the credentials of binding %s: %w", b.ID, err)
		}
	}
	for _, path := range []credhub.Path{
		credhub.CredentialsPath(b.InstanceID, b.ID), credhub.VolumeMountsPath(b.InstanceID, b.ID), credhub.SeedPath(b.InstanceID, b.ID),
	} {
		if err := a.credentials.Delete(ctx, path); err != nil {
			return fmt.Errorf("delete the credentials of binding %s: %w", b.ID, err)
		}
	}
	return nil
}

func (a *app) forgetRows(ctx context.Context, tx pgx.Tx, i store.Instance) error {
	if err := a.store.DeleteBindingsOfInstance(ctx, tx, i.ID); err != nil {
		return err
	}
	if err := a.store.DeleteInstance(ctx, tx, i.ID); err != nil {
		return err
	}
	return a.store.InsertAudit(ctx, tx, store.InsertAuditParams{
		Platform: i.Platform, Originating: operatorIdentity(), Action: "forget", Event: store.Succeeded,
		InstanceID: i.ID, ServiceID: i.ServiceID, PlanID: i.PlanID, Outcome: "forgotten",
	})
}

// operatorIdentity is who an operator's change is recorded as.
func operatorIdentity() json.RawMessage {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	text, _ := json.Marshal(map[string]any{"platform": "operator", "value": map[string]string{"user": name}})
	return text
}
