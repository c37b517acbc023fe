// Package access is what a binding may do, in the words of its parameters.
package access

import "fmt"

// Role is what a binding may do.
type Role string

// The roles.
const (
	ReadWrite Role = "read_write"
	ReadOnly  Role = "read_only"
)

// Check checks the parameter role.
func (r Role) Check() error {
	if r != ReadWrite && r != ReadOnly {
		return fmt.Errorf("role: must be %q or %q", ReadWrite, ReadOnly)
	}
	return nil
}

// Params are the parameters of a binding that has a role and nothing else.
type Params struct {
	Role Role `json:"role"`
}

// SetDefaults implements services.Defaulter.
func (p *Params) SetDefaults() { p.Role = ReadWrite }

// Validate implements services.Validator.
func (p *Params) Validate() error { return p.Role.Check() }
