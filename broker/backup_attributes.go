package broker

import (
	"context"
	"encoding/json"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// mostListed is how many backups an answer lists.
const mostListed = 50

// Backups are the attribute "backups" of an instance.
type Backups struct {
	// Count is how many can be restored, and Last the latest of them.
	Count int     `json:"count"`
	Last  *Backup `json:"last,omitempty"`
	// Next is when the next one is due by the plan's schedule.
	Next string `json:"next,omitempty"`
	// InProgress says what is being copied.
	InProgress []string `json:"in_progress,omitempty"`
	// List has the latest ones, with those that failed.
	List []Backup `json:"list,omitempty"`
}

// Backup is one of them.
type Backup struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`
	State string `json:"state"`
	// Time is when it was begun, and Bytes its size before it was compressed.
	Time  string `json:"time"`
	Bytes int64  `json:"bytes,omitempty"`
	// BuildsOn is the ID of the backup without which this one cannot be restored, and
	// which is kept as long as this one.
	BuildsOn string `json:"builds_on,omitempty"`
	// Verified is when it was last restored to prove it.
	Verified string `json:"verified,omitempty"`
	// Omitted says what it lacks, and Description why it failed.
	Omitted     []string `json:"omitted,omitempty"`
	Description string   `json:"description,omitempty"`
}

// backupAttributes tells the user about the backups of an instance.
func (b *Broker) backupAttributes(ctx context.Context, have store.Instance, plan *catalog.Plan) (a Backups, err error) {
	resource := operation.SafeName(have)
	all, err := b.Store.BackupsOfResource(ctx, b.Store.Pool, resource)
	if err != nil {
		return a, err
	}
	for _, row := range all {
		if row.Origin == store.ForClone {
			continue
		}
		one := backupAttribute(row)
		if row.State == store.BackupReady {
			if a.Count++; a.Last == nil {
				a.Last = &one
			}
		}
		if len(a.List) < mostListed {
			a.List = append(a.List, one)
		}
	}
	unfinished, err := b.Store.UnfinishedCopies(ctx, b.Store.Pool, resource)
	if err != nil {
		return a, err
	}
	for _, c := range unfinished {
		a.InProgress = append(a.InProgress, operation.DescribeCopy(c, map[store.CopyKind]string{
			store.CopyBackup: "makes a backup", store.CopyRestore: "restores a backup",
		}[c.Kind]))
	}
	if !plan.Backups.Scheduled() {
		return a, nil
	}
	next, err := b.Store.Schedule(ctx, b.Store.Pool, have.ID)
	if store.NotFound(err) { // recorded within minutes
		return a, nil
	}
	a.Next = rfc3339(&next.NextAt)
	return a, err
}

func backupAttribute(row store.Backup) Backup {
	var contents services.Contents
	_ = json.Unmarshal(row.Contents, &contents) // what an older release stored may lack it
	return Backup{
		ID: row.ID, Name: row.Name, State: string(row.State), Time: rfc3339(&row.CreatedAt), Bytes: row.RawBytes, BuildsOn: row.BaseID,
		Verified: rfc3339(row.VerifiedAt), Omitted: contents.Omitted, Description: row.Description,
	}
}
