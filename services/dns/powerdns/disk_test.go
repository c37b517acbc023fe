package powerdns

import (
	"encoding/json"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestFullDisk(t *testing.T) {
	disk := embeddedtest.SmallDisk(t, 16)
	server := &testServer{embeddedtest.PowerDNSOn(t, disk.Dir())}
	servicetest.RunFullDisk(t, servicetest.Suite{
		Definition: Definition(),
		Address:    server.apiAddress(),
		Config:     server.proxied,
		Secrets:    []string{server.APIKey()},
		Plan:       json.RawMessage(`{"parents": ["apps.test"]}`),
		OtherPlan:  json.RawMessage(`{"parents": ["apps.test"], "dnssec": true}`),
		Create:     []json.RawMessage{json.RawMessage(`{}`)},
		Bind:       []json.RawMessage{json.RawMessage(`{}`)},
		Left:       server.leftOf,
	}, servicetest.Disk{
		Fill: func(t *testing.T) { disk.Fill(t) },
		Clear: func(t *testing.T) {
			disk.Clear(t)
			if err := server.Restart(testContext(t)); err != nil {
				t.Fatal(err)
			}
		},
		Updated: func(t *testing.T, instance string) {
			z, err := server.admin().Zones.Get(testContext(t), instance+"."+parent+".")
			if err != nil || !*z.DNSsec {
				t.Errorf("not signed: %v", err)
			}
		},
	})
}
