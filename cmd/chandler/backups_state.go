package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// The commands of this file change backups through the state; running brokers do the work.

func newBackupsCreate() *cobra.Command {
	var f operator.Filter
	var all, wait bool
	cmd := verb{
		use: "create [INSTANCE...]", short: "Make backups of instances, beside those of their schedules", args: cobra.ArbitraryArgs, needs: stateOnly(),
		long: `Create has a running broker make a backup of each named instance, or of all ready instances that
the filters select and whose plans have backups. What a plan keeps does not count these backups: they
stay until you delete them, or, once their instance is deleted, as long as its others.`,
		do: func(ctx context.Context, s *session) error {
			ids := s.args
			if err := s.oneSelection(f.Selects(), all); err != nil {
				return err
			}
			if len(ids) == 0 {
				var err error
				if ids, err = s.copiedInstances(ctx, f); err != nil {
					return err
				}
			}
			var made []string
			var faults []error
			for _, id := range ids {
				b, err := s.CreateBackup(ctx, s.by, id)
				if err != nil {
					faults = append(faults, err)
					continue
				}
				made = append(made, b.ID)
			}
			return errors.Join(append(faults, s.tellWork(ctx, made, store.CopyBackup, wait))...)
		},
	}.command()
	filterFlags(cmd, &f, nil)
	cmd.Flags().BoolVar(&all, "all", false, "all instances whose plans have backups")
	waitFlag(cmd, &wait)
	return cmd
}

func waitFlag(cmd *cobra.Command, wait *bool) {
	cmd.Flags().BoolVar(wait, "wait", false, "wait for the end, and exit with 1 if one fails")
}

// oneSelection refuses a command that selects nothing, or in two ways.
func (s *session) oneSelection(filters, all bool) error {
	n := 0
	for _, given := range []bool{len(s.args) > 0, filters, all} {
		if given {
			n++
		}
	}
	if n != 1 {
		return usagef("name what to work on, or select it with filters, or give --all: exactly one of them")
	}
	return nil
}

// copiedInstances are the ready instances that a filter selects and that can be backed up.
func (s *session) copiedInstances(ctx context.Context, f operator.Filter) ([]string, error) {
	f.Status = string(store.Ready)
	rows, err := s.Instances(ctx, f)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range rows {
		if plan, ok := s.Catalog.Plan(i.ServiceID, i.PlanID); ok && plan.Backups != nil {
			ids = append(ids, i.ID)
		}
	}
	return ids, nil
}

// tellWork prints the backups on which work has begun, once it has ended if wait is true.
func (s *session) tellWork(ctx context.Context, ids []string, kind store.CopyKind, wait bool) error {
	rows := []operator.Backup{}
	var faults []error
	for _, id := range ids {
		b, err := s.Backup(ctx, id)
		if wait && err == nil {
			b, err = s.AwaitBackup(ctx, id, kind)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if why := failure(b, kind); wait && why != "" {
			faults = append(faults, fmt.Errorf("%s: %s", b.Name(), why))
		}
		rows = append(rows, b)
	}
	return errors.Join(append(faults, stateTable().print(s.out, s.output, rows))...)
}

// failure says why the last work of a kind on a backup failed; empty: it did not.
func failure(b operator.Backup, kind store.CopyKind) string {
	for _, c := range slices.Backward(b.Work) {
		if c.Kind != kind {
			continue
		}
		if c.State != store.CopyFailed && c.State != store.CopyCancelled {
			return ""
		}
		if c.LastError != "" {
			return c.LastError
		}
		return string(c.State) + " " + c.Description
	}
	return ""
}

func stateTable() table[operator.Backup] {
	return table[operator.Backup]{
		header: []string{"BACKUP", "CREATED", "INSTANCE", "STATE", "ORIGIN", "SIZE", "VERIFIED", "NOTE"},
		cells: func(b operator.Backup) []string {
			return []string{
				b.Name(), timeText(b.CreatedAt), b.InstanceID, string(b.State), string(b.Origin), services.Size(b.RawBytes).String(),
				optionalTime(b.VerifiedAt), note(b),
			}
		},
	}
}

// note is what an operator should know about a backup: its work in progress, or what failed.
func note(b operator.Backup) string {
	if c, ok := b.Unfinished(); ok {
		text := fmt.Sprintf("%s %s", c.Kind, c.State)
		if c.Attempts > 1 || c.LastError != "" {
			text += fmt.Sprintf(", attempt %d: %s", c.Attempts, c.LastError)
		}
		return text
	}
	switch {
	case b.State == store.BackupFailed:
		return b.LastError
	case b.VerifyError != "":
		return "verification failed: " + b.VerifyError
	}
	return ""
}

func newBackupsVerify() *cobra.Command {
	var f backup.Filter
	var all, wait bool
	cmd := verb{
		use: "verify [BACKUP...]", short: "Restore backups into scratch instances to prove them", args: cobra.ArbitraryArgs, needs: stateOnly(),
		long: `Verify has a running broker restore each named backup, or the latest backup of each instance that
the filters select, into a scratch instance on the backup's server, compare the two and remove the
scratch instance. 'chandler backups list' shows the result.`,
		do: func(ctx context.Context, s *session) error {
			if err := s.oneSelection(f != backup.Filter{}, all); err != nil {
				return err
			}
			ids, err := s.selectBackups(ctx, f, true)
			if err != nil {
				return err
			}
			var begun []string
			var faults []error
			for _, id := range ids {
				if err := s.VerifyBackup(ctx, s.by, id); err != nil {
					faults = append(faults, err)
					continue
				}
				begun = append(begun, id)
			}
			return errors.Join(append(faults, s.tellWork(ctx, begun, store.CopyVerify, wait))...)
		},
	}.command()
	backupFlags(cmd, &f)
	cmd.Flags().BoolVar(&all, "all", false, "the latest backups of all instances")
	waitFlag(cmd, &wait)
	return cmd
}

// selectBackups returns the backups that the arguments name, or else those of the filter that are
// ready; latest leaves out all but the latest of each instance.
func (s *session) selectBackups(ctx context.Context, f backup.Filter, latest bool) ([]string, error) {
	if len(s.args) > 0 {
		return s.args, nil
	}
	rows, err := s.Backups(ctx, f)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var ids []string
	for _, b := range rows {
		if b.State != store.BackupReady || latest && seen[b.ResourceName] {
			continue
		}
		seen[b.ResourceName] = true
		ids = append(ids, b.ID)
	}
	return ids, nil
}

func newBackupsDelete() *cobra.Command {
	var f backup.Filter
	cmd := verb{
		use: "delete [BACKUP...]", short: "Delete backups", args: cobra.ArbitraryArgs, needs: stateOnly(),
		long: `Delete has a running broker delete the named backups, or all ready ones that the filters select,
from the store and the state. The key of an instance goes with its last backup: what is left of a
backup anywhere else can then be opened only with your own key.`,
		do: func(ctx context.Context, s *session) error {
			if err := s.oneSelection(f != backup.Filter{}, false); err != nil {
				return usagef("name the backups to delete, or select them with filters: exactly one of them")
			}
			ids, err := s.selectBackups(ctx, f, false)
			if err != nil {
				return err
			}
			var faults []error
			for _, id := range ids {
				if err := s.DeleteBackup(ctx, s.by, id); err != nil {
					faults = append(faults, err)
					continue
				}
				s.printf("a running broker deletes it: %s\n", id)
			}
			return errors.Join(faults...)
		},
	}.confirmed("deleted backups cannot be restored")
	backupFlags(cmd, &f)
	return cmd
}
