package openstack

import (
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/recordsets"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/embedded"
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

// Zones reach the name server, the servers survive kill -9, and a second start continues with the
// data, the ports and the accounts.
func TestDNS(t *testing.T) {
	dir := reachable(t)
	first := run(t, dir, DNS)
	holds(t, first.DNS)
	holds(t, first.Identity)
	project, client := project(t, first, "shop")
	makeZone(t, dnsClient(t, client), "shop.example.", "192.0.2.1")
	resolves(t, first, "www.shop.example.", "192.0.2.1")
	for _, server := range []embedded.Process{first.Identity, first.DNS, first.DNS.NameServer, first.Database} {
		server.Kill()
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	makeZone(t, dnsClient(t, login(t, first, first.Identity.Broker(), project)), "after.example.", "192.0.2.2")
	resolves(t, first, "www.after.example.", "192.0.2.2")
	holds(t, first.DNS, "zone shop.example.", "zone after.example.")
	holds(t, first.Identity, "project shop")
	stop(t, first)
	second := run(t, dir, DNS)
	if second.Identity.AuthURL() != first.Identity.AuthURL() || second.DNS.URL() != first.DNS.URL() || second.Identity.Broker() != first.Identity.Broker() {
		t.Error("the second start has other ports or passwords")
	}
	resolves(t, second, "www.shop.example.", "192.0.2.1")
	makeZone(t, dnsClient(t, login(t, second, second.Identity.Broker(), project)), "second.example.", "192.0.2.3")
	resolves(t, second, "www.second.example.", "192.0.2.3")
}
