package database

import (
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

// Quota compares the size of a database with its plan's storage.
type Quota struct {
	Used, Storage services.Size
	// Marked says whether the database is marked as over quota.
	Marked bool
}

// Exceeded says whether writes are refused.
func (q Quota) Exceeded() bool {
	return usage.Exceeds(q.Used, q.Storage) || q.Marked && !usage.MayResume(q.Used, q.Storage)
}

// Resumes says whether the database may be written to again.
func (q Quota) Resumes() bool { return q.Marked && usage.MayResume(q.Used, q.Storage) }

// InSync says whether the database is as its plan demands; locked, whether nobody can write.
func (q Quota) InSync(locked bool) bool {
	return !q.Resumes() && (!q.Exceeded() || q.Marked && locked)
}

// Note tells the user if writes are refused, and how to free space.
func (q Quota) Note(remedy string) string {
	if !q.Exceeded() {
		return ""
	}
	return usage.WritesRefused(q.Used, q.Storage) + ": " + remedy
}
