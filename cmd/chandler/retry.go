package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

func newRetry() *cobra.Command {
	var flags operatorFlags
	var f filter
	var all, dry bool
	cmd := flags.verb("retry [ID]", "Retry failed operations; a running broker works on them", cobra.MaximumNArgs(1), openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, args []string) error {
			selects := f.selects()
			switch {
			case len(args) == 1 && (selects || all || dry):
				return usagef("an ID selects one operation: leave out either the ID or --all, --dry-run and the filters")
			case len(args) == 1:
				op, err := a.engine.Retry(ctx, args[0], operatorIdentity())
				if err != nil {
					return err
				}
				return printOperation(w, flags.output, newOperationRow(op))
			case selects == all:
				return usagef("name an operation by its ID, select several with filters, or give --all (not both)")
			}
			f, err := f.resolved(a.catalog)
			if err != nil {
				return err
			}
			rows, skipped, err := a.retryAll(ctx, f, dry)
			return errors.Join(printOperations(w, flags.output, rows), printSkipped(w, flags.output, skipped), err)
		})
	cmd.Long = `Retry gives a failed operation a new deadline; a running broker works on it again. It must
be the latest operation on its instance or binding. With filters or --all it retries every
such operation that timed out or failed because of the broker or a server; use it after an
outage, once the cause is removed. It skips failures that the user caused (rejected), that
a client gave up (cancelled) and that a deletion replaced (superseded). --dry-run only
prints what would be retried.`
	f.flags(cmd, "")
	cmd.Flags().StringVar(&f.instance, "instance", "", "only those on this instance and its bindings")
	cmd.Flags().BoolVar(&all, "all", false, "all failed operations of all platforms")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only print what would be retried")
	return cmd
}

// selects says whether anything but the limit is set.
func (f filter) selects() bool {
	return f.platform+f.organization+f.space+f.service+f.plan+f.server+f.instance != ""
}

// printSkipped says why operations that the filter selects were not retried.
func printSkipped(w io.Writer, o output, skipped []error) error {
	if o == "json" {
		return nil
	}
	for _, err := range skipped {
		fmt.Fprintf(w, "left alone: %s\n", err)
	}
	return nil
}

// retryAll retries what failed for no reason of the user's and is the latest on its
// instance or binding. skipped are those that could not be retried.
func (a *app) retryAll(ctx context.Context, f filter, dry bool) (rows []operationRow, skipped []error, err error) {
	limit := f.limit
	f.status, f.limit = store.Failed, 0
	failed, err := a.operations(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	seen := map[[2]string]bool{}
	for _, r := range failed {
		if limit > 0 && len(rows) == limit {
			break
		}
		key := [2]string{r.InstanceID, r.BindingID}
		if seen[key] || r.Outcome != store.Failed && r.Outcome != store.TimedOut {
			continue
		}
		seen[key] = true
		if dry {
			err = a.engine.Retryable(ctx, r.ID)
		} else {
			var op store.Operation
			if op, err = a.engine.Retry(ctx, r.ID, operatorIdentity()); err == nil {
				r = newOperationRow(op)
			}
		}
		switch {
		case err == nil:
			rows = append(rows, r)
		case errors.Is(err, operation.ErrNotRetryable):
			skipped = append(skipped, fmt.Errorf("operation %s: %w", r.ID, err))
		default:
			return rows, skipped, err
		}
	}
	return rows, skipped, nil
}
