package rabbitmq

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestFullDisk(t *testing.T) {
	disk := embeddedtest.SmallDisk(t, 200)
	rabbit := embeddedtest.RabbitMQOn(t, disk.Dir())
	admin, err := url.Parse(rabbit.URL())
	if err != nil {
		t.Fatal(err)
	}
	server := &testServer{admin, rabbit.Port()}
	servicetest.RunFullDisk(t, servicetest.Suite{
		Definition: Definition(),
		Address:    server.admin.Host,
		Config:     server.proxied("disk"),
		Secrets:    []string{server.password()},
		Plan:       json.RawMessage(`{}`),
		OtherPlan:  json.RawMessage(`{"connections": 20}`),
		Create:     []json.RawMessage{json.RawMessage(`{}`)},
		Bind:       []json.RawMessage{json.RawMessage(`{}`)},
		Left:       server.leftOf,
	}, servicetest.Disk{
		Fill: func(t *testing.T) { disk.Fill(t) },
		Clear: func(t *testing.T) {
			disk.Clear(t)
			rabbit.Kill() // it ends in order for most of a minute
			if err := rabbit.Restart(testContext(t)); err != nil {
				t.Fatal(err)
			}
		},
	})
}
