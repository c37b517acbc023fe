package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
)

// restoreFlags are those of backups restore.
type restoreFlags struct {
	operator.Recovery
	into, before     string
	all, otherTenant bool
}

func newBackupsRestore() *cobra.Command {
	var f restoreFlags
	cmd := verb{
		use: "restore [BACKUP --into INSTANCE | --server SERVER]", short: "Bring back what a server has lost, or restore one backup", args: cobra.MaximumNArgs(1),
		long: `With --server, restore brings back the instances of a server that has lost them: all with --all, or
those that the filters select. Each is made anew under its own ID, filled from its latest backup, and its
bindings get the same credentials again. The server has to run, empty, with the administrator that the
catalog names; or --onto names another server of the same backend. Instances that the server still
has are left alone, unless you give --overwrite.

With a BACKUP, restore replaces the data of the instance --into by that of the backup: an instance that
its user has just created, or one that its server has lost.

Running brokers do the work, --at-once instances at a time. If the command is interrupted, what has
begun goes on; repeat the command at any time to continue. It exits with 1 if an instance or a binding
is not back. See docs/disaster.md.`,
		do: func(ctx context.Context, s *session) (err error) {
			if err := f.check(s.args); err != nil {
				return err
			}
			if len(s.args) == 1 {
				return s.restoreOne(ctx, f)
			}
			return s.restoreServer(ctx, f)
		},
	}.command()
	filterFlags(cmd, &f.Filter, nil)
	flags := cmd.Flags()
	flags.Lookup("server").Usage = "the server that has lost its instances, as 'chandler servers' names it: backend, or backend/server"
	flags.StringVar(&f.Filter.Instance, "instance", "", "only this instance")
	flags.BoolVar(&f.all, "all", false, "all instances of the server")
	flags.StringVar(&f.Onto, "onto", "", "make the instances on this server of the same backend instead")
	flags.StringVar(&f.before, "before", "", "restore the latest backups from before this time, such as 2026-03-01T12:00:00Z")
	flags.BoolVar(&f.Empty, "empty", false, "also bring back instances without a backup, without data")
	flags.BoolVar(&f.Overwrite, "overwrite", false, "also replace instances that their server has; their present data is lost")
	flags.BoolVar(&f.DryRun, "dry-run", false, "only print what would be restored")
	flags.IntVar(&f.AtOnce, "at-once", operator.DefaultAtOnce, "restore so many instances at a time")
	flags.StringVar(&f.into, "into", "", "the instance into which BACKUP is restored")
	flags.BoolVar(&f.otherTenant, "other-tenant", false, "restore BACKUP even if the instance is of another space, namespace, organization or platform")
	return cmd
}

// hintTime is after how long the command says what it waits for.
const hintTime = 30 * time.Second

// check refuses flags that do not go together.
func (f *restoreFlags) check(args []string) (err error) {
	filters := f.Filter
	f.Server, filters.Server = filters.Server, ""
	switch {
	case len(args) == 1 && (f.Server != "" || f.Onto != "" || f.before != "" || f.all || f.Empty || f.DryRun || filters.Selects()):
		return usagef("a BACKUP goes with --into, --overwrite and --other-tenant only; leave out the others, or the BACKUP")
	case len(args) == 1 && f.into == "":
		return usagef("--into is missing: name the instance into which the backup is restored")
	case len(args) == 1:
		return nil
	case f.into != "" || f.otherTenant:
		return usagef("--into and --other-tenant go with a BACKUP; name it as 'chandler backups list' prints it")
	case f.Server == "":
		return usagef("name a BACKUP with --into, or the server that has lost its instances with --server")
	case f.all == filters.Selects():
		return usagef("select instances of the server with filters, or give --all (not both)")
	case f.AtOnce < 1:
		return usagef("--at-once: must be at least 1")
	case f.before != "":
		if f.Before, err = time.Parse(time.RFC3339, f.before); err != nil {
			return usagef("--before: must be a time such as 2026-03-01T12:00:00Z (RFC 3339), not %q", f.before)
		}
	}
	return nil
}

func (s *session) restoreOne(ctx context.Context, f restoreFlags) error {
	r, err := s.RestoreBackup(ctx, s.by, operator.BackupRestore{Backup: s.args[0], InstanceID: f.into, Overwrite: f.Overwrite, OtherTenant: f.otherTenant})
	if err != nil {
		return err
	}
	if s.output.format == "json" {
		return errors.Join(printJSON(s.out, r), incomplete(1, r))
	}
	s.printRecovered(r)
	return incomplete(1, r)
}

func (s *session) restoreServer(ctx context.Context, f restoreFlags) error {
	hint := time.AfterFunc(hintTime, func() {
		fmt.Fprintln(os.Stderr, "still waiting: running brokers do the work, and at least one has to run; 'chandler operations list --unfinished' shows how far they are")
	})
	defer hint.Stop()
	results := []operator.RecoveredInstance{}
	err := s.Recover(ctx, s.by, f.Recovery, func(r operator.RecoveredInstance) {
		results = append(results, r)
		if s.output.format != "json" {
			s.printRecovered(r)
		}
	})
	if s.output.format == "json" {
		err = errors.Join(err, printJSON(s.out, results))
	} else {
		s.printf("%s\n", recoveredTotals(results))
	}
	return errors.Join(err, incomplete(len(results), results...))
}

func (s *session) printRecovered(r operator.RecoveredInstance) {
	what := fmt.Sprintf("%s: %s (%s %s)", r.Outcome, r.InstanceID, r.Service, r.Plan)
	switch {
	case r.Outcome == operator.InstanceUnchanged || r.Outcome == operator.InstanceFailed:
		s.printf("%s: %s\n", what, r.Reason)
		return
	case r.BackupID == "":
		s.printf("%s on %s, without data", what, r.Server)
	case r.BackedUpAt == nil: // deleted meanwhile
		s.printf("%s on %s, from backup %s", what, r.Server, r.BackupID)
	default:
		s.printf("%s on %s, from %s (backup %s)", what, r.Server, timeText(*r.BackedUpAt), r.BackupID)
	}
	if r.Reason != "" {
		s.printf(": %s", r.Reason)
	}
	if r.Outcome == operator.InstanceRecovered {
		s.printf(", bindings: %d", r.Bindings)
	}
	s.printf("\n")
	if len(r.Changed) > 0 {
		s.printf("  new credentials, restart or restage the applications: %s\n", strings.Join(r.Changed, " "))
	}
	for _, id := range slices.Sorted(maps.Keys(r.Refused)) {
		s.printf("  not bound, have it deleted and bound again: %s: %s\n", id, r.Refused[id])
	}
}

// recoveredTotals is such as "3 recovered, 1 failed".
func recoveredTotals(results []operator.RecoveredInstance) string {
	counts := map[operator.RecoveryOutcome]int{}
	for _, r := range results {
		counts[r.Outcome]++
	}
	var words []string
	for _, o := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprint(counts[o], " ", o))
	}
	if len(words) == 0 {
		return "no instance is selected"
	}
	return strings.Join(words, ", ")
}

func incomplete(of int, results ...operator.RecoveredInstance) error {
	n := 0
	for _, r := range results {
		if !r.Complete() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d instances are not back completely; remove the cause, and repeat the command", n, of)
}
