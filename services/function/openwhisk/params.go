package openwhisk

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/services"
)

// InstanceParams are the user's parameters of an instance.
type InstanceParams struct {
	// Mounts are folders of file systems that the actions see.
	Mounts []Mount `json:"mounts"`
}

// Mount is a file system of the same tenant.
type Mount struct {
	// Instance is the platform's identifier of its service instance.
	Instance string `json:"instance"`
	// Path is where actions see it.
	Path string `json:"path"`
	// ReadOnly keeps them from changing it.
	ReadOnly bool `json:"read_only"`
}

// BindingParams are the user's parameters of a binding.
type BindingParams struct {
	// Role is what the key may do: read_write, or invoke, which changes
	// nothing.
	Role string `json:"role"`
}

// Roles of keys, as the runtimes spell them.
const (
	readWrite = "read_write"
	invoke    = "invoke"
)

// SetDefaults implements services.Defaulter.
func (p *BindingParams) SetDefaults() { p.Role = readWrite }

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	if p.Role != readWrite && p.Role != invoke {
		return fmt.Errorf("role: must be %q or %q", readWrite, invoke)
	}
	return nil
}

const (
	maxMounts    = 8
	maxMountPath = 128
	maxInstance  = 255 // OSB, "Service Instances"
)

// mountRule keeps to names that need no quoting anywhere.
var mountRule = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`)

// Validate implements services.Validator.
func (p *InstanceParams) Validate() error {
	if len(p.Mounts) > maxMounts {
		return fmt.Errorf("mounts: must be %d at most", maxMounts)
	}
	var faults []error
	for i, m := range p.Mounts {
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("mounts[%d].%w", i, fmt.Errorf(format, args...)))
		}
		if m.Instance == "" || utf8.RuneCountInString(m.Instance) > maxInstance {
			fault("instance: must be the identifier of a service instance")
		}
		if len(m.Path) > maxMountPath || !mountRule.MatchString(m.Path) {
			fault("path: must be absolute, of A-Z, a-z, 0-9 and ._- between the slashes and no part beginning with a dot, %d characters at most", maxMountPath)
		}
		for _, other := range p.Mounts[:i] {
			if within(m.Path, other.Path) || within(other.Path, m.Path) {
				fault("path: another mount is at, above or below it")
			}
		}
	}
	return errors.Join(faults...)
}

// within says whether inner is outer or below it.
func within(inner, outer string) bool {
	return strings.HasPrefix(path.Clean(inner)+"/", path.Clean(outer)+"/")
}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)
