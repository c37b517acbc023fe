package store

import (
	"time"
)

// Resource is the ID that the names of the instance's outside resources derive
// from: that under which they were made.
func (i Instance) Resource() string {
	if i.ResourceID != "" {
		return i.ResourceID
	}
	return i.ID
}

// Past says whether the binding's lifetime is over. Its credentials are revoked
// then, or will be in a moment.
func (b Binding) Past(now time.Time) bool {
	return b.Status == Expired || b.ExpiresAt != nil && !now.Before(*b.ExpiresAt)
}

// KeptID is the ID of an instance that its platform deleted at the given time.
func KeptID(instanceID string, at time.Time) string {
	return instanceID + "@" + at.UTC().Format("20060102T150405Z")
}
