package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
)

// bindingRow is a binding as the operator sees it: where its credentials are,
// and never what they are.
type bindingRow struct {
	ID            string    `json:"id"`
	InstanceID    string    `json:"instance_id"`
	Platform      string    `json:"platform"`
	AppID         string    `json:"app_id,omitempty"`
	PredecessorID string    `json:"predecessor_id,omitempty"`
	Status        string    `json:"status"`
	Credentials   string    `json:"credentials_path"`
	CreatedAt     time.Time `json:"created_at"`
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

func (a *app) bindings(ctx context.Context) ([]store.Binding, error) {
	return pages(func(after string) ([]store.Binding, error) {
		return a.store.ListBindings(ctx, a.store.Pool, store.ListBindingsParams{After: after, Batch: pageSize})
	}, func(b store.Binding) string { return b.ID })
}

func newBindings() *cobra.Command {
	var list, show operatorFlags
	return newNoun("bindings", "Look at service bindings",
		list.verb("list", "List all bindings", cobra.NoArgs, openOptions{},
			func(ctx context.Context, a *app, w io.Writer, _ []string) error {
				all, err := a.bindings(ctx)
				if err != nil {
					return err
				}
				rows := make([]bindingRow, 0, len(all))
				for _, b := range all {
					rows = append(rows, newBindingRow(b))
				}
				return printBindings(w, list.output, rows)
			}),
		show.verb("show ID", "Show a binding and where its credentials are", cobra.ExactArgs(1), openOptions{},
			func(ctx context.Context, a *app, w io.Writer, args []string) error {
				b, err := a.store.Binding(ctx, a.store.Pool, args[0])
				if store.NotFound(err) {
					return fmt.Errorf("there is no binding %q", args[0])
				} else if err != nil {
					return err
				}
				r := newBindingRow(b)
				if show.output == "json" {
					return printJSON(w, r)
				}
				return printFields(w, "id", r.ID, "instance", r.InstanceID, "platform", r.Platform, "application", r.AppID,
					"predecessor", r.PredecessorID, "status", r.Status, "created", timeText(r.CreatedAt), "expires", optionalTime(r.ExpiresAt), "credentials at", r.Credentials)
			}),
	)
}

func printBindings(w io.Writer, o output, rows []bindingRow) error {
	return printRows(w, o, rows, []string{"ID", "INSTANCE", "APPLICATION", "STATUS", "CREATED", "EXPIRES"}, func(r bindingRow) []string {
		return []string{r.ID, r.InstanceID, r.AppID, r.Status, timeText(r.CreatedAt), optionalTime(r.ExpiresAt)}
	})
}
