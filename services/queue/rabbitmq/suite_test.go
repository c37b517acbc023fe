package rabbitmq

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) { servicetest.Run(t, newServer(t).suite()) }

func (s *testServer) suite() servicetest.Suite {
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	long := strings.Repeat("x", maxPattern+1)
	return servicetest.Suite{
		Definition: Definition(),
		Address:    s.admin.Host,
		Config:     s.proxied("suite"),
		Secrets:    []string{s.password()},
		Plan: raw(`{"connections": 12, "connections_per_binding": 6, "channels_per_binding": 50, "queues": 20,
			"queue_messages": 1000, "queue_size": "1MB", "default_queue_type": "quorum"}`),
		OtherPlan: raw(`{"connections": 30, "queues": 40, "overflow": "drop-head", "queue_messages": 5000, "default_queue_type": "quorum"}`),
		Create:    []json.RawMessage{raw(`{}`)},
		Bind: []json.RawMessage{
			raw(`{}`),
			raw(`{"configure": "^chandler\\.", "write": "^(amq\\.default|amq\\.topic|chandler\\..*)$", "read": "^chandler\\.",
				"topics": [{"exchange": "amq.topic", "write": "^orders\\.", "read": "^orders\\."}]}`),
		},
		ReadOnly: raw(`{"role": "read_only"}`),
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{
				"a plan's key":          raw(`{"queues": 10}`),
				"a binding's parameter": raw(`{"role": "read_only"}`),
			},
			Bind: map[string]json.RawMessage{
				"an unknown role":                     raw(`{"role": "administrator"}`),
				"an empty role":                       raw(`{"role": ""}`),
				"a tag":                               raw(`{"tags": "administrator"}`),
				"read only and writing":               raw(`{"role": "read_only", "write": "^a"}`),
				"read only and declaring":             raw(`{"role": "read_only", "configure": ""}`),
				"a broken pattern":                    raw(`{"write": "("}`),
				"a pattern that takes for ever":       raw(`{"write": "^(a+)+$"}`),
				"a hidden one":                        raw(`{"read": "((x*)y?){2,5}"}`),
				"a long pattern":                      raw(`{"read": "` + long + `"}`),
				"a pattern with a line break":         raw(`{"read": "a\nb"}`),
				"a pattern beyond ASCII":              raw(`{"read": "ä"}`),
				"a number as pattern":                 raw(`{"read": 5}`),
				"a topic without an exchange":         raw(`{"topics": [{"write": "^a"}]}`),
				"an empty exchange":                   raw(`{"topics": [{"exchange": ""}]}`),
				"an exchange twice":                   raw(`{"topics": [{"exchange": "a"}, {"exchange": "a", "read": "b"}]}`),
				"a broken pattern of a topic":         raw(`{"topics": [{"exchange": "a", "read": "["}]}`),
				"an unknown key of a topic":           raw(`{"topics": [{"exchange": "a", "configure": "b"}]}`),
				"a topic that is no object":           raw(`{"topics": ["amq.topic"]}`),
				"too many topics":                     tooManyTopics(),
				"permissions in the wrong case":       raw(`{"Write": ".*"}`),
				"topics as an object":                 raw(`{"topics": {}}`),
				"a topic's pattern that is too long":  raw(`{"topics": [{"exchange": "a", "write": "` + long + `"}]}`),
				"a virtual host":                      raw(`{"vhost": "/"}`),
				"a password":                          raw(`{"password": "x"}`),
				"a repetition of repeated characters": raw(`{"configure": "(.*x)*"}`),
			},
		},
		Reach:  reach,
		Limits: limitsThatHold(s),
		Fill:   s.fill,
		Left:   s.leftOf,

		NoDataCopied: true,
	}
}

func tooManyTopics() json.RawMessage {
	var p struct {
		Topics []map[string]string `json:"topics"`
	}
	for i := range maxTopics + 1 {
		p.Topics = append(p.Topics, map[string]string{"exchange": strings.Repeat("e", i+1)})
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings always encode
	}
	return encoded
}
