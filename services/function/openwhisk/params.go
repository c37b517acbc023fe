package openwhisk

import (
	"fmt"
	"path"
	"strings"

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

// Validate implements services.Validator. It refuses what the schema cannot express; the
// runtime decides about the rest.
func (p *InstanceParams) Validate() error {
	for i, m := range p.Mounts {
		for _, other := range p.Mounts[:i] {
			if isWithin(m.Path, other.Path) || isWithin(other.Path, m.Path) {
				return fmt.Errorf("mounts[%d].path: another mount is at, above or below it", i)
			}
		}
	}
	return nil
}

// isWithin says whether inner is outer or below it.
func isWithin(inner, outer string) bool {
	return strings.HasPrefix(path.Clean(inner)+"/", path.Clean(outer)+"/")
}

// MountedInstances implements services.Mounter.
func (b *backend) MountedInstances(params InstanceParams) []string {
	ids := make([]string, len(params.Mounts))
	for i, m := range params.Mounts {
		ids[i] = m.Instance
	}
	return ids
}

// mounts are the parameters' mounts with the directories that the engine found for
// them, which the runtime examines.
func mounts(inst instance) ([]mount, error) {
	all := []mount{}
	for i, m := range inst.Params.Mounts {
		directory, ok := inst.Directories[m.Instance]
		if !ok {
			return nil, services.Rejected("mounts[%d].instance: no file system with this identifier can be mounted here", i)
		}
		all = append(all, mount{m, directory})
	}
	return all, nil
}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)
