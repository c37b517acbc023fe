package store

import (
	"time"
)

// ResourceKey is the ID that the names of the instance's outside resources derive
// from: that under which they were made.
func (i Instance) ResourceKey() string {
	if i.ResourceID != "" {
		return i.ResourceID
	}
	return i.ID
}

// IsExpired says whether the binding's lifetime is over. Its credentials are revoked
// then, or will be in a moment.
func (b Binding) IsExpired(now time.Time) bool {
	return b.Status == Expired || b.ExpiresAt != nil && !now.Before(*b.ExpiresAt)
}

// RetainedID is the ID of an instance that its platform deleted at the given time.
func RetainedID(instanceID string, at time.Time) string {
	return instanceID + "@" + at.UTC().Format("20060102T150405Z")
}
