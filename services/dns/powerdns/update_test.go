package powerdns

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// values are the values of a record's set as the server answers them.
func values(t *testing.T, b *backend, name string, kind uint16) []string {
	t.Helper()
	var got []string
	for _, r := range ask(t, b, name, kind).Answer {
		got = append(got, strings.TrimPrefix(r.String(), r.Header().String()))
	}
	slices.Sort(got)
	return got
}

func expectValues(t *testing.T, b *backend, name string, kind uint16, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, values(t, b, name, kind)); diff != "" {
		t.Errorf("%s %s (-want +got):\n%s", dns.TypeToString[kind], name, diff)
	}
}

func withRecords(inst instance, records ...zone.Record) instance {
	inst.Params.Records = records
	return inst
}

// An update changes what its parameters change. What applications made is left
// alone, unless the parameters name it.
func TestUpdateLeavesApplicationsRecords(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	first := provisioned(t, b, "i", func(i *instance) {
		*i = withRecords(*i, zone.Record{Name: "kept", Type: "A", Values: []string{"192.0.2.1"}},
			zone.Record{Name: "goes", Type: "A", Values: []string{"192.0.2.2"}},
			zone.Record{Name: "changes", Type: "A", Values: []string{"192.0.2.3"}},
			zone.Record{Name: "becomes", Type: "A", Values: []string{"192.0.2.4"}},
			zone.Record{Name: "shared", Type: "A", Values: []string{"192.0.2.5"}},
			zone.Record{Name: "left", Type: "MX", TTL: 300, Values: []string{"10 Mail.example.com"}},
			zone.Record{Name: "text", Type: "TXT", Values: []string{`a "quoted" \ text`, "other"}})
	})
	c := bound(t, b, first, "b", BindingParams{})
	for _, r := range []string{"kept.@ 60 IN A 198.51.100.1", "own.@ 60 IN A 198.51.100.2", "junk.@ 60 IN TXT junk",
		"shared.@ 60 IN A 198.51.100.3", "left.@ 60 IN MX 20 mx.example.org.", "text.@ 60 IN TXT own", "new.@ 60 IN A 198.51.100.4"} {
		if err := update(t, c.signer, c.zone, strings.Replace(r, "@", c.zone, 1)); err != nil {
			t.Fatal(err)
		}
	}
	second := withRecords(first, zone.Record{Name: "kept", Type: "A", Values: []string{"192.0.2.1"}},
		zone.Record{Name: "changes", Type: "A", Values: []string{"192.0.2.30"}},
		zone.Record{Name: "becomes", Type: "CNAME", Values: []string{"example.org"}},
		zone.Record{Name: "shared", Type: "A", Values: []string{"192.0.2.50"}},
		zone.Record{Name: "new", Type: "A", Values: []string{"192.0.2.6", "198.51.100.4"}},
		zone.Record{Name: "text", Type: "TXT", Values: []string{"other"}},
		zone.Record{Name: "junk", Type: "TXT", Values: []string{}})
	for range 2 {
		if err := servicetest.Once(b).Update(ctx, first, second); err != nil {
			t.Fatal(err)
		}
		expectValues(t, b, "kept."+c.zone, dns.TypeA, "192.0.2.1", "198.51.100.1")
		expectValues(t, b, "goes."+c.zone, dns.TypeA)
		expectValues(t, b, "changes."+c.zone, dns.TypeA, "192.0.2.30")
		expectValues(t, b, "becomes."+c.zone, dns.TypeCNAME, "example.org.")
		expectValues(t, b, "own."+c.zone, dns.TypeA, "198.51.100.2")
		expectValues(t, b, "junk."+c.zone, dns.TypeTXT)
		expectValues(t, b, "shared."+c.zone, dns.TypeA, "192.0.2.50", "198.51.100.3")
		expectValues(t, b, "left."+c.zone, dns.TypeMX, "20 mx.example.org.")
		expectValues(t, b, "text."+c.zone, dns.TypeTXT, `"other"`, `"own"`)
		expectValues(t, b, "new."+c.zone, dns.TypeA, "192.0.2.6", "198.51.100.4")
	}
	for range 2 { // as the engine undoes it
		if err := servicetest.Once(b).Update(ctx, second, first); err != nil {
			t.Fatal(err)
		}
		expectValues(t, b, "goes."+c.zone, dns.TypeA, "192.0.2.2")
		expectValues(t, b, "changes."+c.zone, dns.TypeA, "192.0.2.3")
		expectValues(t, b, "becomes."+c.zone, dns.TypeA, "192.0.2.4")
		expectValues(t, b, "own."+c.zone, dns.TypeA, "198.51.100.2")
		expectValues(t, b, "shared."+c.zone, dns.TypeA, "192.0.2.5", "198.51.100.3")
		expectValues(t, b, "left."+c.zone, dns.TypeMX, "10 mail.example.com.", "20 mx.example.org.")
		expectValues(t, b, "text."+c.zone, dns.TypeTXT, `"a \"quoted\" \\ text"`, `"other"`, `"own"`)
	}
}

// What only the server can see is told to the user, and changes nothing.
func TestUpdateAgainstApplicationsRecords(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst := provisioned(t, b, "i", nil)
	c := bound(t, b, inst, "b", BindingParams{})
	if err := update(t, c.signer, c.zone, "www."+c.zone+" 60 IN A 198.51.100.1"); err != nil {
		t.Fatal(err)
	}
	next := withRecords(inst, zone.Record{Name: "other", Type: "A", Values: []string{"192.0.2.1"}},
		zone.Record{Name: "www", Type: "CNAME", Values: []string{"example.org"}})
	err := servicetest.Once(b).Update(testContext(t), inst, next)
	if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, "www."+c.zone[:len(c.zone)-1]) {
		t.Errorf("error: %v", err)
	}
	expectValues(t, b, "www."+c.zone, dns.TypeA, "198.51.100.1")
	expectValues(t, b, "other."+c.zone, dns.TypeA)
}

func TestCheckUpdate(t *testing.T) {
	b := newServer(t).backend(t)
	plain := newInstance("i", nil)
	namedZone := newInstance("i", named("shop.apps.test"))
	for _, test := range []struct {
		name       string
		prev, next instance
		want       string
	}{
		{"the same", namedZone, namedZone, ""},
		{"the zone in other letters", namedZone, newInstance("i", named("SHOP.apps.test.")), ""},
		{"the zone left out", namedZone, plain, ""},
		{"the made-up name said", plain, newInstance("i", named(plain.Name+".apps.test")), ""},
		{"another zone", namedZone, newInstance("i", named("shop2.apps.test")), "parameters.zone: fixed at creation"},
		{"a name for what has one", plain, namedZone, "parameters.zone: fixed at creation"},
		{"a plan of other domains", namedZone, newInstance("i", func(i *instance) { i.Plan.Parents = []string{"a.test", "b.test"} }), "a.test and b.test"},
		{"to DNSSEC", namedZone, newInstance("i", func(i *instance) { i.Plan.DNSSEC = true }), ""},
		{"from DNSSEC", newInstance("i", func(i *instance) { i.Plan.DNSSEC = true }), plain, "DS record"},
		{"a record out of the zone", namedZone, withRecords(plain, zone.Record{Name: "x.y.apps.test.", Type: "A", Values: []string{"192.0.2.1"}}), "does not lie in the zone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := b.CheckUpdate(services.UpdateRequest[Plan, InstanceParams]{Previous: test.prev, Instance: test.next})
			message, rejected := services.IsRejected(err)
			if (err == nil) != (test.want == "") || rejected != (test.want != "") || !strings.Contains(message, test.want) {
				t.Errorf("error: %v, want %q", err, test.want)
			}
		})
	}
}
