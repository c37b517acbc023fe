package nats

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

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
	// ReadStreams adds to Publish the subjects of JetStream's API that reading
	// streams takes.
	ReadStreams bool `json:"read_streams"`
	// Respond allows one message to the reply subject of each request received.
	Respond bool `json:"respond"`
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
	if p.ReadStreams && p.Subscribe != nil {
		faults = append(faults, errors.New("read_streams: cannot be combined with subscribe: a stream delivers messages of any subject; list the subjects of JetStream's API for one stream in publish instead"))
	}
	if p.Respond {
		faults = append(faults, p.checkRespond())
	}
	return errors.Join(append(faults, checkSubjects("publish", p.Publish), checkSubjects("subscribe", p.Subscribe))...)
}

// checkRespond refuses respond where it would break the list of subjects to
// publish to: an application that receives what it publishes can send itself a
// message whose reply subject is any other, and answer that.
func (p *BindingParams) checkRespond() error {
	if p.Publish == nil || p.Subscribe == nil {
		return errors.New("respond: needs publish and subscribe; without publish it is unnecessary or not allowed, and without subscribe the application could publish to any subject by answering its own messages")
	}
	for _, to := range p.Publish {
		for _, from := range append([]string{inboxes}, p.Subscribe...) {
			if overlap(to, from) {
				return fmt.Errorf("respond: cannot be combined with %q in publish, because the application also receives %q: it could publish to any subject by answering its own messages", to, from)
			}
		}
	}
	return nil
}

// overlap says whether a subject can match both a and b, with their wildcards.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		if x[i] == everything || y[i] == everything {
			return true
		}
		if x[i] != y[i] && x[i] != "*" && y[i] != "*" {
			return false
		}
	}
	return len(x) == len(y)
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
