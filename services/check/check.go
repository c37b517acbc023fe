// Package check collects the faults of a backend's configuration, a plan or parameters.
package check

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Faults are a collection. Each fault begins with the key that it is about.
type Faults struct{ list []error }

// Err returns all faults joined, nil if there are none.
func (f *Faults) Err() error { return errors.Join(f.list...) }

// Add adds the errors that are not nil.
func (f *Faults) Add(errs ...error) { f.list = append(f.list, errs...) }

// Key adds an error that does not name the key it is about.
func (f *Faults) Key(key string, err error) {
	if err != nil {
		f.Add(fmt.Errorf("%s: %w", key, err))
	}
}

// If adds a fault if bad is true.
func (f *Faults) If(bad bool, format string, args ...any) {
	if bad {
		f.Add(fmt.Errorf(format, args...))
	}
}

// Range requires low <= value <= high.
func Range[N cmp.Ordered](f *Faults, key string, value, low, high N) {
	f.If(value < low || value > high, "%s: must be from %v to %v", key, low, high)
}

// Optional requires a value from 1 to high, or 0, which means that there is no limit.
func Optional[N int | int64](f *Faults, key string, value, high N) {
	f.If(value < 0 || value > high, "%s: must be from 1 to %d, or left out for no limit", key, high)
}

// Size requires at least a given size, or 0, which means that there is no limit.
func (f *Faults) Size(key string, size, least services.Size) {
	f.If(size != 0 && size < least, "%s: must be %s, and %s at least", key, services.SizeForm, strings.ReplaceAll(least.String(), " ", ""))
}

// OneOf requires one of several words.
func (f *Faults) OneOf(key, value string, allowed ...string) {
	f.If(!slices.Contains(allowed, value), "%s: must be one of %s", key, strings.Join(allowed, ", "))
}

// Unique requires that a list names nothing twice.
func (f *Faults) Unique(key string, list []string) {
	for i, s := range list {
		f.If(slices.Contains(list[:i], s), "%s: %q is listed twice", key, s)
	}
}
