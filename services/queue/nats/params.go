package nats

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

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
	// Publish and Subscribe are the only subjects that the binding may use; nil: all.
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
	// ReadStreams adds to Publish what reading streams needs of JetStream's API.
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

// subjectRule is narrower than NATS's rule: servers expand braces in permissions, for example.
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

// checkRespond refuses respond where an application receives what it publishes: it could send
// itself a message with any reply subject, and answer that.
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

type instance = services.Instance[Plan, InstanceParams]

// readingAPI are the subjects that reading streams needs (NATS documentation, "JetStream wire API
// Reference").
func readingAPI() []string {
	return []string{
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*",
		"$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>",
		"$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.INFO.*.*",
		"$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.DURABLE.CREATE.*.*",
		"$JS.API.CONSUMER.MSG.NEXT.*.*", "$JS.ACK.>", "$JS.FC.>",
	}
}

const (
	everything = ">"
	streams    = "$JS.>" // the API, whatever its domain; acknowledgements, flow control, snapshots
	inboxes    = "_INBOX.>"
)

// permissions are what a binding may do. They are part of the account, not of the user's JWT.
func permissions(p BindingParams) jwt.UserPermissionLimits {
	limits := jwt.UserPermissionLimits{AllowedConnectionTypes: jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket}}
	limits.NatsLimits = jwt.NatsLimits{Subs: jwt.NoLimit, Data: jwt.NoLimit, Payload: jwt.NoLimit}
	publish, subscribe := &limits.Pub, &limits.Sub
	if p.Subscribe != nil {
		subscribe.Allow.Add(p.Subscribe...)
		subscribe.Allow.Add(inboxes)
	}
	switch {
	case p.Publish != nil:
		publish.Allow.Add(p.Publish...)
		if p.ReadStreams {
			publish.Allow.Add(readingAPI()...)
		}
		if p.Respond {
			limits.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: 2 * time.Minute} // to each request
		}
	// A stream delivers messages of any subject, also of those that the list excludes.
	case p.Role == access.ReadOnly && p.Subscribe != nil:
		publish.Deny.Add(everything)
	case p.Role == access.ReadOnly:
		publish.Allow.Add(readingAPI()...)
	case p.Subscribe != nil:
		publish.Deny.Add(streams)
	}
	return limits
}
