package powerdns

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// turn sends the zone's serial number full circle: each step is less than half of
// the circle, which makes it a later number (RFC 1982).
func turn(t *testing.T, b *backend, c *client) {
	t.Helper()
	soa, ok := ask(t, b, c.zone, dns.TypeSOA).Answer[0].(*dns.SOA)
	if !ok {
		t.Fatal("no SOA")
	}
	first := soa.Serial
	for _, step := range []uint32{1<<31 - 1, 1<<31 - 1, 2} {
		soa.Serial += step
		m := new(dns.Msg).SetUpdate(c.zone)
		m.Insert([]dns.RR{soa})
		if _, err := c.exchange(testContext(t), m); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask(t, b, c.zone, dns.TypeSOA).Answer[0].(*dns.SOA).Serial; got != first {
		t.Fatalf("the serial number is %d, not %d again", got, first)
	}
}

// An application that sends the serial number full circle hides nothing.
func TestSerialFullCircle(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Records = 2 })
	c := bound(t, b, inst, "b", BindingParams{})
	if err := update(t, c.signer, c.zone, "a."+c.zone+" 60 IN A 192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	if note := keep(t, b, inst); note != "" {
		t.Fatalf("note: %q", note)
	}
	soa := ask(t, b, c.zone, dns.TypeSOA).Answer[0].(*dns.SOA)
	if err := update(t, c.signer, c.zone, "low."+c.zone+" 1 IN A 192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	back := *soa
	back.Serial--
	for back.Serial != soa.Serial {
		now := ask(t, b, c.zone, dns.TypeSOA).Answer[0].(*dns.SOA).Serial
		back.Serial = now + min(soa.Serial-now, 1<<31-1)
		m := new(dns.Msg).SetUpdate(c.zone)
		m.Insert([]dns.RR{&back})
		if _, err := c.exchange(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask(t, b, c.zone, dns.TypeSOA).Answer[0].(*dns.SOA).Serial; got != soa.Serial {
		t.Fatalf("the serial number is %d, not %d again", got, soa.Serial)
	}
	if note := keep(t, b, inst); note != "" {
		t.Errorf("note: %q", note)
	}
	if got := ask(t, b, "low."+c.zone, dns.TypeA).Answer[0].Header().Ttl; got != 60 {
		t.Errorf("time to live: %d", got)
	}
	if note := keep(t, b, inst); note != "" {
		t.Errorf("note: %q", note)
	}
	for i := range 3 {
		if err := update(t, c.signer, c.zone, fmt.Sprintf("r%d.%s 60 IN A 192.0.2.1", i, c.zone)); err != nil {
			t.Fatal(err)
		}
	}
	turn(t, b, c)
	if note := keep(t, b, inst); !strings.HasPrefix(note, "records: 5 of 2 ") {
		t.Errorf("note: %q", note)
	}
}

// Records of the zone's own NS set count beyond the server's own, and large
// records count as several.
func TestEveryRecordCounts(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Records = 5 })
	c := bound(t, b, inst, "b", BindingParams{})
	for i := range 4 {
		if err := update(t, c.signer, c.zone, fmt.Sprintf("%s 60 IN NS ns%d.example.org.", c.zone, i)); err != nil {
			t.Fatal(err)
		}
	}
	if note := keep(t, b, inst); note != "" {
		t.Errorf("note: %q", note)
	}
	if err := update(t, c.signer, c.zone, "t."+c.zone+" 60 IN TXT "+strings.Repeat(strings.Repeat("x", 250)+" ", 240)); err != nil {
		t.Fatal(err)
	}
	if note := keep(t, b, inst); !strings.HasPrefix(note, "records: 8 of 5 ") {
		t.Errorf("note: %q", note)
	}
}

// A set that does not fit into an update, or that the broker cannot read, keeps
// no other set's time to live from being raised, nor its own.
func TestRaiseWhatIsStrange(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst := provisioned(t, b, "i", nil)
	c := bound(t, b, inst, "b", BindingParams{})
	var large []string
	for i := range 30 {
		large = append(large, fmt.Sprintf("a-large.%s 5 IN TXT %d%s", c.zone, i, strings.Repeat(" "+strings.Repeat("x", 250), 10)))
	}
	odd := `b-odd\032\001` + "." + c.zone + " 5 IN A 192.0.2.1"
	for _, r := range append(large, odd, "plain."+c.zone+" 5 IN A 192.0.2.1") {
		if err := update(t, c.signer, c.zone, r); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		keep(t, b, inst)
	}
	content, err := b.api.Zones.Get(testContext(t), c.zone)
	if err != nil {
		t.Fatal(err)
	}
	if count, low := inspect(c.zone, content.RRsets, inst.Plan.MinTTL, 2); count != len(large)+2 || len(low) > 0 {
		t.Errorf("%d records, low: %v", count, low)
	}
}
