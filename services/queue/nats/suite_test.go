package nats

import (
	"encoding/json"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{})
	servicetest.Run(t, suite(t, server))
}

func suite(t *testing.T, server *testServer) servicetest.Suite {
	t.Helper()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return servicetest.Suite{
		Definition: Definition(),
		Address:    server.address(),
		Config:     server.config,
		Secrets:    []string{server.operator, server.creds},
		Plan:       raw(`{"storage": "8MB", "memory": "1MB", "streams": 5, "connections": 12}`),
		OtherPlan:  raw(`{"storage": "16MB", "memory": "2MB", "streams": 7, "consumers": 3, "connections": 24, "payload": "64kB"}`),
		Create:     []json.RawMessage{raw(`{}`)},
		Bind: []json.RawMessage{
			raw(`{}`),
			raw(`{"role": "read_write", "publish": ["chandler.probe.>", "$JS.API.STREAM.CREATE.CHANDLER_PROBE"], "read_streams": true}`),
		},
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{
				"a binding's parameter": raw(`{"role": "read_only"}`),
			},
			Bind: map[string]json.RawMessage{
				"an unknown role":                  raw(`{"role": "superuser"}`),
				"an empty role":                    raw(`{"role": ""}`),
				"a role in upper case":             raw(`{"role": "READ_ONLY"}`),
				"no subject":                       raw(`{"publish": []}`),
				"a subject with a blank":           raw(`{"publish": ["a b"]}`),
				"a subject with a template":        raw(`{"subscribe": ["{{name()}}"]}`),
				"an empty token":                   raw(`{"subscribe": ["a..b"]}`),
				"> in the middle":                  raw(`{"subscribe": ["a.>.b"]}`),
				"a subject twice":                  raw(`{"publish": ["a", "a"]}`),
				"a subject that is a number":       raw(`{"publish": [1]}`),
				"a string for subjects":            raw(`{"publish": "a"}`),
				"publish for reading only":         raw(`{"role": "read_only", "publish": ["a"]}`),
				"reading streams around a list":    raw(`{"subscribe": ["a"], "read_streams": true}`),
				"responding without a list":        raw(`{"respond": true}`),
				"responding while reading only":    raw(`{"role": "read_only", "subscribe": ["a"], "respond": true}`),
				"responding around publish":        raw(`{"publish": ["a"], "respond": true}`),
				"responding around subscribe":      raw(`{"subscribe": ["a"], "respond": true}`),
				"responding to itself":             raw(`{"publish": ["a.*"], "subscribe": ["*.b"], "respond": true}`),
				"responding to its own inbox":      raw(`{"publish": ["_INBOX.x"], "subscribe": ["b"], "respond": true}`),
				"responding to itself with a tail": raw(`{"publish": ["a.>"], "subscribe": ["*.*.c"], "respond": true}`),
				"a subject that is too long":       raw(`{"publish": ["` + string(make129()) + `"]}`),
				"more subjects than are kept":      raw(`{"publish": [` + manySubjects(33) + `]}`),
			},
		},
		ReadOnly: raw(`{"role": "read_only"}`),
		Reach:    reach,
		Limits:   limitsThatHold(),
		Fill:     fill,
		Left:     server.leftOf(server.backend(t).keys),
	}
}
