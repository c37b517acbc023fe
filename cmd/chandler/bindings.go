package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// bindingRow is a binding as the operator sees it: where its credentials are,
// and never what they are.
type bindingRow struct {
	ID            string `json:"id"`
	InstanceID    string `json:"instance_id"`
	Platform      string `json:"platform"`
	AppID         string `json:"app_id,omitempty"`
	PredecessorID string `json:"predecessor_id,omitempty"`
	Status        string `json:"status"`
	// Name is in the names of all that the backend made for it, such as its login.
	Name        string    `json:"name,omitempty"`
	Credentials string    `json:"credentials_path"`
	CreatedAt   time.Time `json:"created_at"`
	// ExpiresAt is when the engine revokes it; nil: never.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

func newBindingRow(b store.Binding) bindingRow {
	return bindingRow{
		ID: b.ID, InstanceID: b.InstanceID, Platform: b.Platform, AppID: b.AppID, PredecessorID: b.PredecessorID, Status: b.Status,
		Credentials: credhub.CredentialsPath(b.InstanceID, b.ID).String(), CreatedAt: b.CreatedAt,
		ExpiresAt: b.ExpiresAt,
	}
}

// bindings reads what the filter selects.
func (a *app) bindings(ctx context.Context, f filter) ([]store.Binding, error) {
	return pages(f.limit, func(after string, batch int32) ([]store.Binding, error) {
		return a.store.ListBindings(ctx, a.store.Pool, store.ListBindingsParams{
			After: after, Platform: f.platform, InstanceID: f.instance, ServiceIds: f.serviceIDs, PlanIds: f.planIDs, Status: f.status,
			OfInstance: f.ofInstance(), OrganizationID: f.organization, SpaceID: f.space, Backend: f.backend, Server: f.onServer, Batch: batch,
		})
	}, func(b store.Binding) string { return b.ID })
}

func (a *app) binding(ctx context.Context, id string) (store.Binding, error) {
	b, err := a.store.Binding(ctx, a.store.Pool, id)
	if store.NotFound(err) {
		err = fmt.Errorf("there is no binding %q", id)
	}
	return b, err
}

func newBindings() *cobra.Command {
	return newNoun("bindings", "Look at service bindings, and forget lost ones", newBindingsList(), newBindingsShow(), newForgetBinding())
}

func newBindingsList() *cobra.Command {
	var flags operatorFlags
	var f filter
	cmd := flags.verb("list", "List bindings", cobra.NoArgs, openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, _ []string) error {
			f, err := f.resolved(a.catalog, store.Creating, store.Ready, store.CreateFailed, store.DeleteFailed, store.Expired)
			if err != nil {
				return err
			}
			all, err := a.bindings(ctx, f)
			if err != nil {
				return err
			}
			rows := make([]bindingRow, 0, len(all))
			for _, b := range all {
				rows = append(rows, newBindingRow(b))
			}
			return printBindings(w, flags.output, rows)
		})
	f.flags(cmd, "creating, ready, create_failed, delete_failed or expired")
	cmd.Flags().StringVar(&f.instance, "instance", "", "only of this instance")
	return cmd
}

func newBindingsShow() *cobra.Command {
	var flags operatorFlags
	return flags.verb("show ID", "Show a binding, the path of its credentials, and its name in the backend", cobra.ExactArgs(1), openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, args []string) error {
			b, err := a.binding(ctx, args[0])
			if err != nil {
				return err
			}
			i, err := a.store.Instance(ctx, a.store.Pool, b.InstanceID)
			if err != nil {
				return err
			}
			r := newBindingRow(b)
			r.Name = services.BindingName(i.Resource(), b.ID)
			if flags.output == "json" {
				return printJSON(w, r)
			}
			return printFields(w, "id", r.ID, "instance", r.InstanceID, "platform", r.Platform, "application", r.AppID,
				"predecessor", r.PredecessorID, "status", r.Status, "created", timeText(r.CreatedAt), "expires", optionalTime(r.ExpiresAt),
				"name in the backend", r.Name, "credentials at", r.Credentials)
		})
}

func printBindings(w io.Writer, o output, rows []bindingRow) error {
	return printRows(w, o, rows, []string{"ID", "INSTANCE", "APPLICATION", "STATUS", "CREATED", "EXPIRES"}, func(r bindingRow) []string {
		return []string{r.ID, r.InstanceID, r.AppID, r.Status, timeText(r.CreatedAt), optionalTime(r.ExpiresAt)}
	})
}
