package nats

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
)

// InstanceParams are the user's parameters of an instance: none.
type InstanceParams struct{}

// BindingParams are the user's parameters of a binding.
type BindingParams struct {
	// Role is what the binding may do: read_write or read_only.
	Role access.Role `json:"role"`
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

// SetDefaults implements services.Defaulter.
func (p *BindingParams) SetDefaults() { p.Role = access.ReadWrite }

const (
	maxSubjects      = 32
	maxSubjectLength = 128
)

// subjectRule is narrower than NATS's own rule: braces above all would be
// expanded by the server, which takes a user's permissions for a template.
var subjectRule = regexp.MustCompile(`^(([A-Za-z0-9_$/=:@~+-]+|\*)\.)*([A-Za-z0-9_$/=:@~+-]+|\*|>)$`)

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	var f check.Faults
	f.Add(p.Role.Check())
	f.If(p.Role == access.ReadOnly && p.Publish != nil, "publish: cannot be given with role %q, which publishes nothing", p.Role)
	f.If(p.ReadStreams && p.Subscribe != nil, "read_streams: cannot be combined with subscribe: a stream delivers messages of any subject; list the subjects of JetStream's API for one stream in publish instead")
	if p.Respond {
		f.Add(p.checkRespond())
	}
	checkSubjects(&f, "publish", p.Publish)
	checkSubjects(&f, "subscribe", p.Subscribe)
	return f.Err()
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

func checkSubjects(f *check.Faults, key string, subjects []string) {
	if subjects != nil && len(subjects) == 0 || len(subjects) > maxSubjects {
		f.If(true, "%s: must have 1 to %d subjects; leave it out to allow all", key, maxSubjects)
		return
	}
	for i, s := range subjects {
		f.If(len(s) > maxSubjectLength || !subjectRule.MatchString(s),
			"%s: the subject at position %d must be tokens of A-Z, a-z, 0-9 and _$/=:@~+- with dots between them, wildcards * and > (at the end only), %d characters at most",
			key, i+1, maxSubjectLength)
	}
	f.Unique(key, subjects)
}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)
