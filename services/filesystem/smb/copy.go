package smb

import (
	"context"
	"errors"
	"syscall"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/tree"
	"github.com/chandler-broker/chandler/services/usage"
)

var _ services.Streamer[Plan, InstanceParams] = (*backend)(nil)

// Backup implements services.Streamer. On btrfs it copies a snapshot.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (contents services.Contents, err error) {
	own, err := b.own(r.Instance)
	if err != nil {
		return contents, err
	}
	share := b.names.resource(r.Instance.Name)
	dir, remove, err := b.folder.still(share)
	if err != nil {
		return contents, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return tree.Write(ctx, dir, own, r.Writer)
}

// Restore implements services.Streamer. Files then belong to the instance, whoever made them.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (services.RestoreResult, error) {
	if err := fits(r.Instance.Plan, r.Contents); err != nil {
		return services.RestoreResult{}, err
	}
	own, err := b.own(r.Instance)
	if err != nil {
		return services.RestoreResult{}, err
	}
	err = tree.Read(ctx, b.folder.path(b.names.resource(r.Instance.Name)), own, r.Contents, r.Reader)
	switch {
	case errors.Is(err, syscall.EDQUOT):
		err = tooLarge(r.Contents)
	case errors.Is(err, syscall.ENOSPC):
		err = services.OutOfCapacity(err)
	}
	return services.RestoreResult{}, err
}

// own is the account that owns the instance's files.
func (b *backend) own(inst instance) (tree.Owner, error) {
	t, err := b.accounts.read()
	if err != nil {
		return tree.Owner{}, err
	}
	a, ok := t.find(inst.Name)
	if !ok {
		return tree.Owner{}, errAbsent
	}
	return tree.Owner{UID: uint32(a.uid), GID: uint32(a.gid)}, nil //nolint:gosec // numbers of accounts, which Config bounds
}

// fits rejects a copy that the instance cannot take.
func fits(p Plan, contents services.Contents) error {
	if contents.Format != tree.Format {
		return services.Rejected("the backup has the format %q, and this service restores only %q: choose a backup of a share", contents.Format, tree.Format)
	}
	if usage.Exceeds(services.Size(contents.Counts[tree.CountBytes]), p.Storage) || usage.Exceeds(int(contents.Counts[tree.CountFiles]), p.Files) {
		return tooLarge(contents)
	}
	return nil
}

func tooLarge(contents services.Contents) error {
	return services.Rejected("the backup contains %d files with %s, beside what the file system needs for them, which is more than the plan allows: choose a larger plan",
		contents.Counts[tree.CountFiles], services.Size(contents.Counts[tree.CountBytes]))
}
