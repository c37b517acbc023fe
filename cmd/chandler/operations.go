package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/store"
)

func newOperations() *cobra.Command {
	return newNoun("operations", "List operations, and retry failed ones", newOperationsList(), newOperationsShow(), newRetry())
}

func newOperationsList() *cobra.Command {
	var f operator.Filter
	unfinished := false
	cmd := list(verb{use: "list", short: "List operations, latest first", needs: stateOnly()}, operationTable(),
		func(ctx context.Context, s *session) ([]store.Operation, error) {
			if unfinished {
				f.Status = string(store.InProgress)
			}
			return s.Operations(ctx, f)
		})
	filterFlags(cmd, &f, operator.OperationStates())
	cmd.Flags().BoolVar(&unfinished, "unfinished", false, `only those in progress, as --status "in progress"`)
	cmd.Flags().StringVar(&f.Instance, "instance", "", "only on this instance and its bindings")
	cmd.MarkFlagsMutuallyExclusive("unfinished", "status")
	return cmd
}

func operationTable() table[store.Operation] {
	return table[store.Operation]{
		header: []string{"ID", "KIND", "INSTANCE", "BINDING", "STATE", "OUTCOME", "ATTEMPTS", "CREATED", "DESCRIPTION"},
		cells: func(op store.Operation) []string {
			return []string{
				op.ID, string(op.Kind), op.InstanceID, op.BindingID, string(op.State), string(op.Outcome), strconv.Itoa(int(op.Attempts)), timeText(op.CreatedAt), op.Description,
			}
		},
	}
}

func newOperationsShow() *cobra.Command {
	return verb{
		use: "show ID", short: "Show an operation with its last error", args: cobra.ExactArgs(1), needs: stateOnly(),
		do: func(ctx context.Context, s *session) error {
			op, err := s.Operation(ctx, s.args[0])
			if err != nil {
				return err
			}
			return s.showOperation(op)
		},
	}.command()
}

func (s *session) showOperation(op store.Operation) error {
	return s.show(op, "id", op.ID, "kind", string(op.Kind), "platform", op.Platform, "instance", op.InstanceID, "binding", op.BindingID,
		"state", string(op.State), "phase", string(op.Phase), "outcome", string(op.Outcome), "description", op.Description, "last error", op.LastError,
		"attempts", strconv.Itoa(int(op.Attempts)), "request", op.RequestID, "accepted", timeText(op.CreatedAt),
		"deadline", timeText(op.Deadline), "ended", optionalTime(op.FinishedAt))
}

func newRetry() *cobra.Command {
	var f operator.Filter
	var all, dry bool
	cmd := verb{
		use: "retry [ID]", short: "Retry failed operations; a running broker works on them", args: cobra.MaximumNArgs(1), needs: stateOnly(),
		long: `Retry gives a failed operation a new deadline; a running broker works on it again. It must
be the latest operation on its instance or binding. With filters or --all it retries every
such operation that timed out or failed because of the broker or a server; use it after an
outage, once the cause is removed. It skips failures that the user caused (rejected), that
a client gave up (cancelled) and that a deletion replaced (superseded). --dry-run only
prints what would be retried.`,
		do: func(ctx context.Context, s *session) error {
			switch {
			case len(s.args) == 1 && (f.Selects() || all || dry):
				return usagef("an ID selects one operation: leave out either the ID or --all, --dry-run and the filters")
			case len(s.args) == 1:
				op, err := s.Retry(ctx, s.by, s.args[0])
				if err != nil {
					return err
				}
				return s.showOperation(op)
			case f.Selects() == all:
				return usagef("name an operation by its ID, select several with filters, or give --all (not both)")
			}
			retried, skipped, err := s.RetryAll(ctx, s.by, f, dry)
			err = errors.Join(operationTable().print(s.out, s.output, retried), err)
			if s.output.format == "json" {
				return err
			}
			for _, reason := range skipped {
				s.printf("skipped: %s\n", reason)
			}
			return err
		},
	}.command()
	filterFlags(cmd, &f, nil)
	cmd.Flags().StringVar(&f.Instance, "instance", "", "only on this instance and its bindings")
	cmd.Flags().BoolVar(&all, "all", false, "all failed operations of all platforms")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only print what would be retried")
	return cmd
}
