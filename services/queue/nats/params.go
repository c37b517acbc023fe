package nats

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/chandler-broker/chandler/services"
)

// InstanceParams are the user's parameters of an instance: none.
type InstanceParams struct{}

// BindingParams are the user's parameters of a binding.
type BindingParams struct {
	// Role is what the binding may do: read_write or read_only.
	Role string `json:"role"`
	// Publish and Subscribe are the only subjects that the binding may
	// publish and subscribe to; nil: all.
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

const (
	readWrite = "read_write"
	readOnly  = "read_only"
)

// SetDefaults implements services.Defaulter.
func (p *BindingParams) SetDefaults() { p.Role = readWrite }

const (
	maxSubjects      = 32
	maxSubjectLength = 128
)

// subjectRule is narrower than NATS's own rule: braces above all would be
// expanded by the server, which takes a user's permissions for a template.
var subjectRule = regexp.MustCompile(`^(([A-Za-z0-9_$/=:@~+-]+|\*)\.)*([A-Za-z0-9_$/=:@~+-]+|\*|>)$`)

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	var faults []error
	if p.Role != readWrite && p.Role != readOnly {
		faults = append(faults, fmt.Errorf("role: must be %q or %q", readWrite, readOnly))
	}
	if p.Role == readOnly && p.Publish != nil {
		faults = append(faults, fmt.Errorf("publish: cannot be given with role %q, which publishes nothing", readOnly))
	}
	return errors.Join(append(faults, checkSubjects("publish", p.Publish), checkSubjects("subscribe", p.Subscribe))...)
}

func checkSubjects(key string, subjects []string) error {
	if subjects != nil && len(subjects) == 0 || len(subjects) > maxSubjects {
		return fmt.Errorf("%s: must have 1 to %d subjects; leave it out to allow all", key, maxSubjects)
	}
	var faults []error
	for i, s := range subjects {
		if len(s) > maxSubjectLength || !subjectRule.MatchString(s) {
			faults = append(faults, fmt.Errorf(
				"%s: the subject at position %d must be tokens of A-Z, a-z, 0-9 and _$/=:@~+- with dots between them, wildcards * and > (at the end only), %d characters at most",
				key, i+1, maxSubjectLength))
		} else if slices.Contains(subjects[:i], s) {
			faults = append(faults, fmt.Errorf("%s: %q is there twice", key, s))
		}
	}
	return errors.Join(faults...)
}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)
