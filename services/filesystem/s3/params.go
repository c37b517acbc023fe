package s3

import (
	"fmt"

	"github.com/chandler-broker/chandler/services"
)

// InstanceParams are the user's parameters of an instance: a bucket has none.
type InstanceParams struct{}

// BindingParams are the user's parameters of a binding.
type BindingParams struct {
	// Role is what the binding may do: read_write or read_only.
	Role string `json:"role"`
}

const (
	readWrite = "read_write"
	readOnly  = "read_only"
)

// SetDefaults implements services.Defaulter.
func (p *BindingParams) SetDefaults() { p.Role = readWrite }

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	if p.Role != readWrite && p.Role != readOnly {
		return fmt.Errorf("role: must be %q or %q", readWrite, readOnly)
	}
	return nil
}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)
