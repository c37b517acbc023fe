package rabbitmq

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
)

// InstanceParams are the user's parameters of an instance: none.
type InstanceParams struct{}

// BindingParams are the user's parameters of a binding (RabbitMQ documentation, "Access Control").
type BindingParams struct {
	// Role is read_write, or read_only for nothing but consuming.
	Role access.Role `json:"role"`
	// Configure, Write and Read narrow a read_write binding's permissions; nil: everything.
	Configure *string `json:"configure"`
	Write     *string `json:"write"`
	Read      *string `json:"read"`
	// Topics narrows the routing keys of topic exchanges.
	Topics []Topic `json:"topics"`
}

// Topic are the routing keys that a binding may use with a topic exchange (RabbitMQ documentation,
// "Topic Authorisation").
type Topic struct {
	Exchange string `json:"exchange"`
	// Write is for publishing, Read for binding queues; nil: all keys.
	Write *string `json:"write"`
	Read  *string `json:"read"`
}

const (
	everything = ".*"
	nothing    = ""

	maxPattern = 200
	maxTopics  = 20
)

// SetDefaults implements services.Defaulter.
func (p *BindingParams) SetDefaults() { p.Role = access.ReadWrite }

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	var f check.Faults
	f.Add(p.Role.Check())
	f.Key("configure", checkPattern(p.Configure))
	f.Key("write", checkPattern(p.Write))
	f.Key("read", checkPattern(p.Read))
	f.If(p.Role == access.ReadOnly && (p.Configure != nil || p.Write != nil), "role: %q allows neither configure nor write; leave those out, or the role", p.Role)
	f.If(len(p.Topics) > maxTopics, "topics: may have %d entries at most", maxTopics)
	for i, t := range p.Topics {
		at := fmt.Sprintf("topics[%d].", i)
		f.If(!exchangeRule.MatchString(t.Exchange), "%sexchange: must be the name of an exchange, 1 to 127 printable ASCII characters", at)
		f.If(slices.ContainsFunc(p.Topics[:i], func(other Topic) bool { return other.Exchange == t.Exchange }),
			"%sexchange: is listed twice; put it into one entry", at)
		f.Key(at+"write", checkPattern(t.Write))
		f.Key(at+"read", checkPattern(t.Read))
	}
	return f.Err()
}

var (
	exchangeRule  = regexp.MustCompile(`^[ -~]{1,127}$`)
	printableRule = regexp.MustCompile(`^[ -~]*$`)
)

// checkPattern refuses what the server cannot read, or what takes it nearly forever to match: it
// backtracks.
func checkPattern(pattern *string) error {
	if pattern == nil {
		return nil
	}
	if len(*pattern) > maxPattern || !printableRule.MatchString(*pattern) {
		return fmt.Errorf("must be a regular expression of %d printable ASCII characters at most", maxPattern)
	}
	parsed, err := syntax.Parse(*pattern, syntax.Perl)
	if err != nil {
		return errors.New("is not a regular expression")
	}
	if hasNestedRepetition(parsed, false) {
		return errors.New("must not have a repetition within a repetition, such as (a+)*")
	}
	return nil
}

// hasNestedRepetition says whether there is a repetition within a repetition.
func hasNestedRepetition(re *syntax.Regexp, within bool) bool {
	repeats := re.Op == syntax.OpStar || re.Op == syntax.OpPlus || re.Op == syntax.OpRepeat
	if repeats && within {
		return true
	}
	return slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return hasNestedRepetition(sub, within || repeats) })
}

type instance = services.Instance[Plan, InstanceParams]

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	if r.Previous.Plan.DefaultQueueType != r.Instance.Plan.DefaultQueueType {
		return services.Rejected("plan_id: the other plan has another default queue type, which cannot be changed once the instance exists; make a new instance of that plan and move to it")
	}
	return nil
}
