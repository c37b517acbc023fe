package nats

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// longSubjects are a binding's parameters that take more than a block of the
// disk in its account.
func longSubjects() string {
	subjects := make([]string, maxSubjects-1)
	for i := range subjects {
		subjects[i] = fmt.Sprintf(`"s%d.%s"`, i, strings.Repeat("x", maxSubjectLength-10))
	}
	return `{"publish": [` + strings.Join(subjects, ",") + `, ">"]}`
}

func TestFullDisk(t *testing.T) {
	disk := embeddedtest.SmallDisk(t, 64)
	server := newServer(t, embedded.NATSOptions{Dir: disk.Dir()})
	servicetest.RunFullDisk(t, servicetest.Suite{
		Definition: Definition(),
		Address:    server.address(),
		Config:     server.config,
		Secrets:    []string{server.operator},
		Plan:       json.RawMessage(`{"storage": "8MB"}`),
		OtherPlan:  json.RawMessage(`{"storage": "12MB"}`),
		Create:     []json.RawMessage{json.RawMessage(`{}`)},
		Bind:       []json.RawMessage{json.RawMessage(longSubjects())},
		Left:       server.leftOf(server.backend(t).keys),
	}, servicetest.Disk{
		Fill: func(t *testing.T) {
			disk.Fill(t)
		},
		Clear: func(t *testing.T) {
			disk.Clear(t)
			server.StopNode(0)
			if err := server.StartNode(testContext(t), 0); err != nil {
				t.Fatal(err)
			}
		},
		Tells: []string{"provision", "bind"},
	})
}
