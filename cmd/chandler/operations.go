package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/store"
)

// operationRow is an operation as the operator sees it.
type operationRow struct {
	ID          string     `json:"id"`
	Kind        string     `json:"kind"`
	Platform    string     `json:"platform"`
	InstanceID  string     `json:"instance_id"`
	BindingID   string     `json:"binding_id,omitempty"`
	State       string     `json:"state"`
	Phase       string     `json:"phase"`
	Outcome     string     `json:"outcome,omitempty"`
	Description string     `json:"description,omitempty"`
	LastError   string     `json:"last_error,omitempty"`
	Attempts    int32      `json:"attempts"`
	RequestID   string     `json:"request_id,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	Deadline    time.Time  `json:"deadline"`
	FinishedAt  *time.Time `json:"finished_at,omitempty"`
}

func newOperationRow(op store.Operation) operationRow {
	return operationRow{
		ID: op.ID, Kind: op.Kind, Platform: op.Platform, InstanceID: op.InstanceID, BindingID: op.BindingID, State: op.State,
		Phase: op.Phase, Outcome: op.Outcome, Description: op.Description, LastError: op.LastError, Attempts: op.Attempts,
		RequestID: op.RequestID, CreatedAt: op.CreatedAt, Deadline: op.Deadline, FinishedAt: op.FinishedAt,
	}
}

// operations reads what the filter selects, latest first.
func (a *app) operations(ctx context.Context, f filter) ([]operationRow, error) {
	rows := []operationRow{}
	for before := int64(math.MaxInt64); ; {
		batch := pageSize
		if f.limit > 0 {
			batch = min(batch, f.limit-len(rows))
		}
		page, err := a.store.ListOperations(ctx, a.store.Pool, store.ListOperationsParams{
			Before: before, State: f.status, InstanceID: f.instance, Platform: f.platform, ServiceIds: f.serviceIDs, PlanIds: f.planIDs,
			OfInstance: f.ofInstance(), OrganizationID: f.organization, SpaceID: f.space, Backend: f.backend, Server: f.onServer, Batch: int32(batch),
		})
		if err != nil {
			return nil, err
		}
		for _, op := range page {
			rows = append(rows, newOperationRow(op))
		}
		if len(page) < batch || len(rows) == f.limit {
			return rows, nil
		}
		before = page[len(page)-1].Seq
	}
}

func newOperations() *cobra.Command {
	var show operatorFlags
	return newNoun("operations", "Look at operations, and retry failed ones",
		newOperationsList(),
		show.verb("show ID", "Show an operation with its last error", cobra.ExactArgs(1), openOptions{stateOnly: true},
			func(ctx context.Context, a *app, w io.Writer, args []string) error {
				op, err := a.store.Operation(ctx, a.store.Pool, args[0])
				if store.NotFound(err) {
					return fmt.Errorf("there is no operation %q", args[0])
				} else if err != nil {
					return err
				}
				return printOperation(w, show.output, newOperationRow(op))
			}),
		newRetry(),
	)
}

func newOperationsList() *cobra.Command {
	var flags operatorFlags
	var f filter
	unfinished := false
	cmd := flags.verb("list", "List operations, latest first", cobra.NoArgs, openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, _ []string) error {
			if unfinished {
				f.status = store.InProgress
			}
			f, err := f.resolved(a.catalog, store.InProgress, store.Succeeded, store.Failed)
			if err != nil {
				return err
			}
			rows, err := a.operations(ctx, f)
			if err != nil {
				return err
			}
			return printOperations(w, flags.output, rows)
		})
	f.flags(cmd, `"in progress", succeeded or failed`)
	cmd.Flags().BoolVar(&unfinished, "unfinished", false, `only those in progress, as --status "in progress"`)
	cmd.Flags().StringVar(&f.instance, "instance", "", "only those on this instance and its bindings")
	cmd.MarkFlagsMutuallyExclusive("unfinished", "status")
	return cmd
}

func printOperations(w io.Writer, o output, rows []operationRow) error {
	header := []string{"ID", "KIND", "INSTANCE", "BINDING", "STATE", "OUTCOME", "ATTEMPTS", "CREATED", "DESCRIPTION"}
	return printRows(w, o, rows, header, func(r operationRow) []string {
		return []string{
			r.ID, r.Kind, r.InstanceID, r.BindingID, r.State, r.Outcome, strconv.Itoa(int(r.Attempts)), timeText(r.CreatedAt), r.Description,
		}
	})
}

func printOperation(w io.Writer, o output, r operationRow) error {
	if o == "json" {
		return printJSON(w, r)
	}
	return printFields(w, "id", r.ID, "kind", r.Kind, "platform", r.Platform, "instance", r.InstanceID, "binding", r.BindingID,
		"state", r.State, "phase", r.Phase, "outcome", r.Outcome, "description", r.Description, "last error", r.LastError,
		"attempts", strconv.Itoa(int(r.Attempts)), "request", r.RequestID, "accepted", timeText(r.CreatedAt),
		"deadline", timeText(r.Deadline), "ended", optionalTime(r.FinishedAt))
}
