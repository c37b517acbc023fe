package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/embedded/workspace"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

func newBackups() *cobra.Command {
	cmd := newNoun("backups", "List, make, verify, restore, export, import and delete backups",
		newBackupsList(), newBackupsShow(), newBackupsCheck(), newBackupsExport(),
		newBackupsCreate(), newBackupsVerify(), newBackupsRestore(), newBackupsImport(), newBackupsDelete())
	cmd.Long = `list, show, check and export read the store of backups itself, as the catalog's section backups (or
CHANDLER_BACKUPS_ENDPOINT and its companions) name it. They work without the broker, its state and the
backends' servers; list and show add what only the state knows, if it answers. create, verify, restore
and delete change the state, and running brokers do the work. import records in the state what only
the store has. A backup's name is INSTANCE/BACKUP, as 'chandler backups list' prints it.`
	return cmd
}

// storeVerb is a command on the store of backups.
type storeVerb struct {
	use, short, long string
	args             cobra.PositionalArgs
	do               func(ctx context.Context, s *storeSession) error
}

// storeSession is what a storeVerb uses.
type storeSession struct {
	*backup.Objects
	settings settings
	args     []string
	out      io.Writer
	output   output
}

func (v storeVerb) command() *cobra.Command {
	var data string
	var s storeSession
	cmd := &cobra.Command{
		Use: v.use, Short: v.short, Long: v.long, Args: usageArgs(v.args),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.args, s.out = args, cmd.OutOrStdout()
			return withBackups(cmd.Context(), data, &s, v.do)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "folder of a chandler dev, instead of the environment's variables")
	s.output.flag(cmd, false)
	return cmd
}

// withBackups opens the store of the environment, or of the folder data, and calls do.
func withBackups(ctx context.Context, data string, s *storeSession, do func(context.Context, *storeSession) error) error {
	open := func(opened settings, lookup func(string) (string, bool)) (err error) {
		s.settings = opened
		if s.Objects, err = openBackups(opened.CatalogPath, lookup); err != nil {
			return err
		}
		return do(ctx, s)
	}
	if data == "" {
		opened, err := environmentSettings()
		if err != nil {
			return err
		}
		defer opened.Variables.Close()
		return open(opened, opened.Variables.Lookup)
	}
	folder, err := workspace.Open(data, true)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.WithServers(ctx, true, func() error {
		opened, err := folderSettings(folder)
		if err != nil {
			return err
		}
		return open(opened, opened.Lookup)
	})
}

// openBackups opens the store that the catalog names. Other parts of the catalog may be at fault, or lack
// their variables.
func openBackups(path string, lookup func(string) (string, bool)) (*backup.Objects, error) {
	c, err := catalog.LoadNames(path, all.Definitions(), lookup)
	b := c.Backups()
	switch {
	case b == nil && err != nil:
		return nil, usageError{err}
	case b == nil:
		return nil, usagef("%s: there is no section backups, and the variable CHANDLER_BACKUPS_ENDPOINT is not set; say where backups are stored", path)
	case b.Store.SecretAccessKey.IsZero() || b.Store.AccessKeyID == "":
		return nil, usagef("%s: backups.store: access_key_id or secret_access_key is empty; set the variables that it reads", path)
	}
	objects, err := backup.Open(b.Store)
	if err != nil {
		return nil, usagef("%s: backups.store: %w", path, err)
	}
	return objects, nil
}

func newBackupsList() *cobra.Command {
	var f backup.Filter
	cmd := storeVerb{
		use: "list", short: "List the backups in the store, the newest first", args: cobra.NoArgs,
		long: `List reads the manifest beside each backup, which says whose it is. It lists backups of
instances that are deleted, too. If the state answers, list adds what only that knows: when a backup was
last verified, which are being made, and which attempts failed. With -o json it prints the manifests,
each with the state's record as "state".`,
		do: func(ctx context.Context, s *storeSession) error {
			found, damaged, err := s.Select(ctx, f)
			if err != nil {
				return err
			}
			rows := s.withState(ctx, f, found)
			return errors.Join(append(damaged, listedTable().print(s.out, s.output, rows))...)
		},
	}.command()
	backupFlags(cmd, &f)
	return cmd
}

func backupFlags(cmd *cobra.Command, f *backup.Filter) {
	flags := cmd.Flags()
	flags.StringVar(&f.Instance, "instance", "", "only of this instance, by the platform's ID or the name in the store")
	flags.StringVar(&f.Platform, "platform", "", "only of this platform, by its name in the catalog")
	flags.StringVar(&f.Organization, "organization", "", "only of this organization, by its GUID")
	flags.StringVar(&f.Space, "space", "", "only of this space, by its GUID")
	flags.StringVar(&f.Namespace, "namespace", "", "only of this namespace of Kubernetes")
	flags.StringVar(&f.Service, "service", "", "only of this service, by name or ID")
	flags.StringVar(&f.Plan, "plan", "", "only of this plan, by name or ID")
}

func newBackupsShow() *cobra.Command {
	return storeVerb{
		use: "show BACKUP", short: "Show a backup's manifest", args: cobra.ExactArgs(1),
		do: func(ctx context.Context, s *storeSession) error {
			m, err := s.Manifest(ctx, s.args[0])
			if err != nil {
				return err
			}
			known := s.stateOf(ctx, m)
			if s.output.format == "json" {
				return printJSON(s.out, listed{m, known})
			}
			return printFields(s.out, append([]string{"backup", m.Name(), "label", m.Label, "created", timeText(m.Created), "builds on", m.Base,
				"instance", m.Instance.ID, "platform", m.Instance.Platform, "organization", m.Instance.Organization, "space", m.Instance.Space,
				"namespace", m.Instance.Namespace, "service", m.Instance.Service, "plan", m.Instance.Plan, "backend", m.Instance.BackendType,
				"parameters", string(m.Instance.Parameters), "format", m.Stored.Contents.Format, "contents", countsText(m.Stored.Contents.Counts),
				"not copied", strings.Join(m.Stored.Contents.Omitted, " "), "size", services.Size(m.Stored.Raw).String(),
				"stored", services.Size(m.Stored.Stored).String(), "object", m.Stored.Object, "sha256", m.Stored.SHA256,
				"recipients", strings.Join(m.Recipients, " ")}, stateFields(known)...)...)
		},
	}.command()
}

func newBackupsCheck() *cobra.Command {
	var f backup.Filter
	cmd := storeVerb{
		use: "check [BACKUP...]", short: "Read backups whole, and compare them with their manifests", args: cobra.ArbitraryArgs,
		long: `Check compares the size and the SHA-256 of backups with their manifests: of the named ones and those
that they build on, or else of all that match the filters. It needs no key. It ends with 1 if one is
damaged or missing.`,
		do: func(ctx context.Context, s *storeSession) error {
			found, faults, err := chosen(ctx, s, f)
			if err != nil {
				return err
			}
			for _, m := range found {
				err := s.Check(ctx, m.Stored)
				if err != nil {
					faults = append(faults, fmt.Errorf("%s: %w", m.Name(), err))
					continue
				}
				if _, err := s.Chain(ctx, m); err != nil {
					faults = append(faults, err)
					continue
				}
				fmt.Fprintf(s.out, "ok: %s (%s)\n", m.Name(), services.Size(m.Stored.Stored))
			}
			return errors.Join(faults...)
		},
	}.command()
	backupFlags(cmd, &f)
	return cmd
}

// chosen are the manifests that the arguments name, or else those of the filter.
func chosen(ctx context.Context, s *storeSession, f backup.Filter) (found []backup.Manifest, faults []error, err error) {
	if len(s.args) == 0 {
		return s.Select(ctx, f)
	}
	for _, name := range s.args {
		m, err := s.Manifest(ctx, name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		chain, err := s.Chain(ctx, m)
		if err != nil { // what is wrong with the others is told with m
			chain = []backup.Manifest{m}
		}
		for _, link := range chain {
			if !slices.ContainsFunc(found, func(f backup.Manifest) bool { return f.Name() == link.Name() }) {
				found = append(found, link)
			}
		}
	}
	return found, faults, nil
}

func newBackupsExport() *cobra.Command {
	var path, identity string
	cmd := storeVerb{
		use: "export BACKUP --file FILE", short: "Decrypt a backup into a file, such as for pg_restore", args: cobra.ExactArgs(1),
		long: `Export checks a backup and then writes the copy in it, decrypted and decompressed, to a new file.
The key is that of the instance, in the credential store, or with --identity the operator's own: the
private key of the catalog's backups.recipient, in a file of age-keygen.

If the backup is incremental, export also writes those that it builds on, the newest first, to files
with .base-1, .base-2 and so on after the name.`,
		do: func(ctx context.Context, s *storeSession) error {
			if path == "" {
				return usagef("--file is missing: name the file to write, or - for standard output")
			}
			return s.export(ctx, path, identity)
		},
	}.command()
	cmd.Flags().StringVar(&path, "file", "", "the file to write; - for standard output")
	cmd.Flags().StringVar(&identity, "identity", "", "file of the operator's private key (default: the instance's key in the credential store)")
	return cmd
}

func (s *storeSession) export(ctx context.Context, path, identity string) error {
	keyOf := func(instance string) (age.Identity, error) { return s.instanceKey(ctx, instance) }
	if identity != "" {
		key, err := operatorKey(identity)
		if err != nil {
			return err
		}
		keyOf = func(string) (age.Identity, error) { return key, nil }
	}
	m, err := s.Manifest(ctx, s.args[0])
	if err != nil {
		return err
	}
	chain, err := s.Chain(ctx, m)
	if err != nil {
		return err
	}
	if path == "-" {
		if len(chain) > 1 {
			return usagef("--file -: the backup is incremental, so that it takes %d files; name a file", len(chain))
		}
		_, err := s.Export(ctx, m.Name(), keyOf, s.out)
		return err
	}
	for i, link := range chain {
		name := path
		if i > 0 {
			name = fmt.Sprintf("%s.base-%d", path, i)
		}
		if err := s.exportTo(ctx, name, link.Name(), keyOf); err != nil {
			return err
		}
	}
	return nil
}

// exportTo writes one copy to a new file.
func (s *storeSession) exportTo(ctx context.Context, path, backupName string, keyOf func(string) (age.Identity, error)) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usagef("--file %s: the file exists already; name another one, or move it away", path)
	} else if err != nil {
		return usagef("--file: %w", err)
	}
	m, err := s.Export(ctx, backupName, keyOf, file)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	fmt.Fprintf(s.out, "%s: written, %s, format %s\n", path, services.Size(m.Stored.Raw), m.Stored.Contents.Format)
	return nil
}

func operatorKey(path string) (age.Identity, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, usagef("--identity: %w", err)
	}
	defer file.Close()
	key, err := backup.ParseIdentity(file)
	if err != nil {
		return nil, usagef("--identity %s: %w", path, err)
	}
	return key, nil
}

func (s *storeSession) instanceKey(ctx context.Context, instance string) (age.Identity, error) {
	store, closeStore, err := server.OpenCredentials(ctx, s.settings.Settings)
	if err != nil {
		return nil, fmt.Errorf("open the credential store for the instance's key (or give the operator's with --identity): %w", err)
	}
	defer closeStore()
	key, err := backup.LoadKey(ctx, store, instance)
	if err != nil {
		return nil, err
	}
	return key.Identity(), nil
}

// countsText is such as "rows 12, tables 3".
func countsText(counts map[string]int64) string {
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprint(kind, " ", counts[kind]))
	}
	return strings.Join(words, ", ")
}
