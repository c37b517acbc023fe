// Package bindings reads the bindings that a platform gives an application, and watches them for
// changes.
package bindings

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
)

// Binding is the binding of a service: its type, such as "postgresql", and its credentials by
// name. Values other than text are in JSON. It redacts itself unless a value is requested.
type Binding struct {
	// Name is the binding's name on the platform.
	Name   string
	values map[string]string
}

// New makes a Binding with credentials.
func New(name string, credentials map[string]string) Binding {
	return Binding{name, maps.Clone(credentials)}
}

// Get returns a value of the credentials; empty: the binding does not have it.
func (b Binding) Get(key string) string { return b.values[key] }

// Type is the kind of service (Service Binding Specification for Kubernetes,
// "Well-known Secret Entries").
func (b Binding) Type() string { return b.values["type"] }

// Format redacts the binding in every verb of package fmt.
func (b Binding) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("binding " + b.Name)) }

// LogValue redacts the binding in package log/slog.
func (b Binding) LogValue() slog.Value { return slog.StringValue("binding " + b.Name) }

// MarshalJSON redacts the binding.
func (b Binding) MarshalJSON() ([]byte, error) { return json.Marshal("binding " + b.Name) }

// Equal says whether both have the same name and credentials.
func (b Binding) Equal(other Binding) bool {
	return b.Name == other.Name && maps.Equal(b.values, other.values)
}

// Set is all bindings of an application.
type Set []Binding

// Of returns the binding of a type, the first by name.
func (s Set) Of(kind string) (Binding, error) {
	var of *Binding
	for _, b := range s {
		if b.Type() == kind && (of == nil || b.Name < of.Name) {
			of = &b
		}
	}
	if of == nil {
		return Binding{}, fmt.Errorf("no service of type %s is bound: bind one", kind)
	}
	return *of, nil
}
