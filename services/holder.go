package services

import (
	"context"
	"time"
)

// BackupHolder is a backend whose server makes and keeps backups itself, such as snapshots: the
// other capability behind backups, restores and clones. A backend implements this one or
// Streamer, not both.
//
// A backup outlives its instance until DeleteBackup: Deprovision leaves what the backup needs, and
// revokes all access to it. Only the same server can restore a backup: by Provision, with
// ProvisionRequest.RestoreFrom.
//
// These methods are verbs: they converge, end after 30 s at the latest, and return NotYet while
// the server works.
type BackupHolder[P, I any] interface {
	// CreateBackup makes the backup of that ID, or returns what there is of it. Applications,
	// Bind and Unbind go on meanwhile.
	CreateBackup(ctx context.Context, r CreateBackupRequest[P, I]) (CreateBackupResult, error)
	// ListBackups returns all backups that CreateBackup began, complete or not. It leaves out
	// those that others made on the server.
	ListBackups(ctx context.Context) ([]HeldBackup, error)
	// DeleteBackup deletes a backup, and then what Deprovision left for it. It succeeds if the
	// backup is absent, and does not need its instance.
	DeleteBackup(ctx context.Context, b HeldBackup) error
}

type (
	// CreateBackupRequest is the argument of CreateBackup.
	CreateBackupRequest[P, I any] struct {
		Instance[P, I]
		// BackupID is a UUID.
		BackupID string
	}
	// CreateBackupResult is the result of CreateBackup.
	CreateBackupResult struct {
		// Format is the backup's format with its version, such as "trove-1".
		Format string
		// Size is the least size of an instance to which the backup can be restored, as
		// Footprint.Storage counts; 0: unknown.
		Size Size
	}
)

// HeldBackup is a backup that a server holds.
type HeldBackup struct {
	// Instance is the Instance.Name of the instance that was backed up.
	Instance string
	// ID is that of CreateBackup.
	ID string
	// Created is when the backup was begun. Only ListBackups sets it.
	Created time.Time
}
