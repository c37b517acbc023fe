package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/server"
)

func newBackupsImport() *cobra.Command {
	var f backup.Filter
	var to operator.Tenant
	var identity string
	all := false
	cmd := verb{
		use: "import [BACKUP...]", short: "Record backups that only the store has, so that they can be restored", args: cobra.ArbitraryArgs,
		needs: server.Needs{Credentials: true},
		long: `Import records backups of the store in the state: the named ones, or all that the filters select. Use
it after the state was restored from a dump, or for backups that were copied into the bucket from another
installation (each object with its manifest, under the same names). It reads each backup whole and
compares it with its manifest first. The catalog needs the plan of the instance that was copied.

A backup can be restored with the key of its instance in the credential store. If that is lost, import
needs --identity, your own private key, and encrypts the backup anew to a new key of the instance.

The manifest says which tenant can restore the backup; --to-platform, --to-organization and --to-space
change that. A backup whose instance the state does not have stays for the plan's after_delete.`,
		do: func(ctx context.Context, s *session) error {
			if err := s.oneSelection(f != backup.Filter{}, all); err != nil {
				return err
			}
			objects := s.server.Backups()
			if objects == nil {
				return usagef("the catalog has no section backups, and the variable CHANDLER_BACKUPS_ENDPOINT is not set; say where backups are stored")
			}
			i := importer{session: s, objects: objects, to: to}
			if identity != "" {
				key, err := operatorKey(identity)
				if err != nil {
					return err
				}
				i.key = key
			}
			return i.run(ctx, f)
		},
	}.command()
	backupFlags(cmd, &f)
	flags := cmd.Flags()
	flags.BoolVar(&all, "all", false, "all backups in the store")
	flags.StringVar(&identity, "identity", "", "file of your own private key, for backups whose instance's key is lost")
	flags.StringVar(&to.Platform, "to-platform", "", "give the backups to this platform")
	flags.StringVar(&to.Organization, "to-organization", "", "give the backups to this organization")
	flags.StringVar(&to.Space, "to-space", "", "give the backups to this space")
	return cmd
}

// importer imports backups.
type importer struct {
	*session
	objects *backup.Objects
	to      operator.Tenant
	key     age.Identity // the operator's; nil: none
}

func (i importer) run(ctx context.Context, f backup.Filter) error {
	found, faults, err := chosen(ctx, &storeSession{Objects: i.objects, args: i.args}, f)
	if err != nil {
		return err
	}
	imported := []backup.Manifest{}
	for _, m := range found {
		made, err := i.one(ctx, m)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", m.Name(), err))
		case made:
			imported = append(imported, m)
		}
	}
	if i.output.format == "json" {
		return errors.Join(append(faults, printJSON(i.out, imported))...)
	}
	for _, m := range imported {
		i.printf("imported: %s of %s, instance %s\n", m.Name(), timeText(m.Created), m.Instance.ID)
	}
	i.printf("%d imported, %d known already, %d failed\n", len(imported), len(found)-len(imported)-len(faults), len(faults))
	return errors.Join(faults...)
}

// one imports a backup unless the state has it.
func (i importer) one(ctx context.Context, m backup.Manifest) (imported bool, err error) {
	_, err = i.Backup(ctx, m.ID)
	if _, missing := errors.AsType[*operator.NotFoundError](err); !missing {
		return false, err
	}
	if m, err = i.openable(ctx, m); err != nil {
		return false, err
	}
	return i.ImportBackup(ctx, i.by, m, i.to)
}

// openable makes sure that the instance's key opens the backup, and that the backup is intact.
func (i importer) openable(ctx context.Context, m backup.Manifest) (backup.Manifest, error) {
	key, err := backup.LoadKey(ctx, i.Credentials, m.Instance.Name)
	if err != nil && !errors.Is(err, backup.ErrKey) {
		return m, err
	}
	if err == nil && slices.Contains(m.Recipients, key.Recipient().String()) {
		return m, i.objects.Check(ctx, m.Stored)
	}
	if i.key == nil {
		return m, fmt.Errorf("%w: the credential store does not have its key; give your own private key with --identity", backup.ErrKey)
	}
	if key, err = backup.EnsureKey(ctx, i.Credentials, m.Instance.Name); err != nil {
		return m, err
	}
	to := []*age.X25519Recipient{key.Recipient()}
	if own := i.Catalog.Backups().Recipient; own != nil {
		to = append(to, own)
	}
	return i.objects.Reencrypt(ctx, m, i.key, to)
}
