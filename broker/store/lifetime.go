package store

import (
	"cmp"
	"slices"
	"time"
)

// ResourceKey is the ID that the names of the instance's resources derive from: the ID
// that the instance had when they were made.
func (i Instance) ResourceKey() string { return cmp.Or(i.ResourceID, i.ID) }

// IsExpired reports whether the binding's lifetime is over. The engine has revoked its
// credentials, or is about to.
func (b Binding) IsExpired(now time.Time) bool {
	return b.Status == Expired || b.ExpiresAt != nil && !now.Before(*b.ExpiresAt)
}

// RetainedID is the ID of an instance that its platform deleted at the given time.
func RetainedID(instanceID string, at time.Time) string {
	return instanceID + "@" + at.UTC().Format("20060102T150405Z")
}

// OnlyBacksUp reports whether the operation waits for a backup of the instance and changes
// nothing, so that bindings may be made and deleted meanwhile, and the instance be deleted.
func (o Operation) OnlyBacksUp() bool { return o.Kind == Update && o.CopyID != "" }

// Finished reports whether the copy has ended.
func (c Copy) Finished() bool { return c.FinishedAt != nil }

// On returns the operation on the binding, or on the instance itself if bindingID is empty.
func On(unfinished []Operation, bindingID string) *Operation {
	i := slices.IndexFunc(unfinished, func(op Operation) bool { return op.BindingID == bindingID })
	if i < 0 {
		return nil
	}
	return &unfinished[i]
}
