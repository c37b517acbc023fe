package services

import (
	"context"
	"encoding/json"
	"io"
)

// Streamer is a backend that can copy an instance's data to a stream, and back into another
// instance: the capability behind backups, restores and clones.
//
// A copy may take hours: unlike a verb's, these methods' ctx ends only when the engine gives
// up or the copy is cancelled. They then return within seconds, and have removed what they had
// set up for the copy: rights, snapshots, accounts, child processes. After a crash, the next
// Backup, Restore or Deprovision of the instance removes it.
//
// The instance's data is hostile: neither method does with an administrator's rights what the
// data says, such as a function that the tenant defined.
type Streamer[P, I any] interface {
	// Backup writes a copy of the instance's data to r.Writer. Applications, Bind and Unbind
	// go on meanwhile. The copy contains no credentials. One call at a time is made for
	// an instance.
	Backup(ctx context.Context, r BackupRequest[P, I]) (Contents, error)
	// Restore reads a copy from r.Reader into the instance, which is new, empty and without
	// bindings. It may have another plan and be on another server than the one that was
	// copied. Bindings made later use the data as those of the original did. After an error
	// the engine deprovisions and provisions the instance before it tries again. What Restore
	// sent before a crash may arrive late, so that Deprovision may have to be repeated. An error
	// built by Rejected is final: the copy does not fit the instance.
	Restore(ctx context.Context, r RestoreRequest[P, I]) (RestoreResult, error)
}

type (
	// BackupRequest is the argument of Backup.
	BackupRequest[P, I any] struct {
		Instance[P, I]
		// Writer takes the copy. Backup returns its error, and does not close it.
		Writer io.Writer
		// Base is an earlier copy of the instance on the same server, which exists as long
		// as this one; nil: the copy has to be complete in itself. Only an Incrementer gets one.
		Base *BaseCopy
	}
	// RestoreRequest is the argument of Restore.
	RestoreRequest[P, I any] struct {
		Instance[P, I]
		// Contents is what Backup returned.
		Contents Contents
		// Reader returns what Backup wrote. Its end is io.EOF only if the copy is
		// complete; Restore must read until then.
		Reader io.Reader
		// Bases are the copies that an incremental copy builds on, the newest first: its
		// own base, that one's, and so on to one that is complete in itself.
		Bases []BaseCopy
	}
	// RestoreResult is the result of Restore.
	RestoreResult struct {
		// Digest is that of what was restored, if Contents has none because the copy is
		// incremental: a copy of the instance has the same.
		Digest string
	}
	// BaseCopy is a copy that another one builds on.
	BaseCopy struct {
		// Contents is what Backup returned.
		Contents Contents
		// Read calls read with what Backup wrote, whose end is io.EOF only if the copy is
		// complete. It returns read's error, or that of a copy that is damaged.
		Read func(ctx context.Context, read func(io.Reader) error) error
	}
)

// Incrementer is a Streamer that can write incremental copies.
type Incrementer interface {
	// Increments says that Backup can leave out what is in BackupRequest.Base. It then sets
	// Contents.Incremental; it may also write a copy that is complete in itself.
	Increments() bool
}

// Contents describes a copy. It is stored beside it, readable to the operator and the user, so it
// contains neither secrets nor the tenant's data.
type Contents struct {
	// Format is the copy's format with its version, such as "postgres-1". Restore
	// rejects other formats before it changes anything.
	Format string `json:"format"`
	// Counts is how much the copy contains, by kind, such as "tables" and "rows". A copy of
	// an instance to which this one was restored has the same counts.
	Counts map[string]int64 `json:"counts"`
	// Digest is a hash of what the copy contains; empty if the backend computes none. A copy
	// of an instance to which this one was restored has the same digest.
	Digest string `json:"digest,omitempty"`
	// Incremental says that the copy lacks what BackupRequest.Base has, so that Restore
	// needs that too. Counts are nevertheless those of the whole instance.
	Incremental bool `json:"incremental,omitempty"`
	// Omitted says in sentences for the user what the copy lacks.
	Omitted []string `json:"omitted,omitempty"`
	// Details is what Restore needs to know before it reads the copy.
	Details json.RawMessage `json:"details,omitempty"`
}
