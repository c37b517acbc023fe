package openstack

import (
	"fmt"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/recordsets"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"github.com/miekg/dns"
)

func dnsClient(t *testing.T, p *gophercloud.ProviderClient) *gophercloud.ServiceClient {
	t.Helper()
	client, err := openstack.NewDNSV2(p, anywhere)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func makeZone(t *testing.T, client *gophercloud.ServiceClient, name, record string) {
	t.Helper()
	z, err := zones.Create(t.Context(), client, zones.CreateOpts{Name: name, Email: "hostmaster@example.com"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	_, err = recordsets.Create(t.Context(), client, z.ID, recordsets.CreateOpts{Name: "www." + name, Type: "A", Records: []string{record}}).Extract()
	if err != nil {
		t.Fatal(err)
	}
}

// resolves waits until the name server has an address for a name.
func resolves(t *testing.T, c *Cloud, name, want string) {
	t.Helper()
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		answer, err := dns.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), c.DNS.NameServer.Address())
		if err == nil && len(answer.Answer) == 1 {
			if got = answer.Answer[0].(*dns.A).A.String(); got == want {
				return
			}
		}
	}
	t.Fatalf("%s has the address %q, want %q", name, got, want)
}

// zoneTenant has some zones.
type zoneTenant struct{ names []string }

func (z *zoneTenant) begin(t *testing.T, c *Cloud, project string) {
	t.Helper()
	name := fmt.Sprintf("shop%d.example.", len(z.names))
	makeZone(t, dnsClient(t, login(t, c, c.Identity.Broker(), project)), name, "192.0.2.1")
	resolves(t, c, "www."+name, "192.0.2.1")
	z.names = append(z.names, name)
}

func (z *zoneTenant) continues(t *testing.T, c *Cloud, project string) {
	t.Helper()
	for _, name := range z.names {
		resolves(t, c, "www."+name, "192.0.2.1")
	}
	z.begin(t, c, project)
	var zones []string
	for _, name := range z.names {
		zones = append(zones, "zone "+name)
	}
	holds(t, c.DNS, zones...)
}
