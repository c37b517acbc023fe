package smb

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// InstanceParams are the user's parameters of an instance: a share has none.
type InstanceParams struct{}

// BindingParams are the user's parameters of a binding, as those of Cloud
// Foundry's volume services are called.
type BindingParams struct {
	// Mount is the directory in the application's container; empty: one of
	// the share's name below defaultMounts.
	Mount string `json:"mount"`
	// ReadOnly bindings read and list, and change nothing.
	ReadOnly bool `json:"readonly"`
}

const (
	// defaultMounts is where Cloud Foundry's volume services mount by default.
	defaultMounts = "/var/vcap/data/"
	maxMount      = 255
)

// mountRule excludes commas, colons and blanks, at which the platforms' mount commands split.
var mountRule = regexp.MustCompile(`^(/[A-Za-z0-9._@+-]+)+$`)

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	if p.Mount == "" {
		return nil
	}
	parts := strings.Split(p.Mount, "/")
	hidden := hides(p.Mount)
	switch {
	case len(p.Mount) > maxMount:
		return fmt.Errorf("mount: must have %d characters at most", maxMount)
	case !mountRule.MatchString(p.Mount):
		return errors.New("mount: must be an absolute path of letters, digits and . _ @ + - between single slashes, such as /data")
	case slices.Contains(parts, ".") || slices.Contains(parts, ".."):
		return errors.New("mount: must name the directory itself, without . and .. in its path")
	case hidden != "":
		return fmt.Errorf("mount: the share would hide %s in the application's container; choose another directory, such as /data", hidden)
	}
	return nil
}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)
