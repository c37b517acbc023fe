package powerdns

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// A zone of a signing plan is signed, including applications' changes, by the key of the DS
// record in its metadata.
func TestDNSSEC(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	plain := provisioned(t, b, "i", nil)
	attributes, err := b.Describe(ctx, plain)
	want := map[string]any{"zone": plain.Name + ".apps.test", "nameservers": []any{"ns1.test.", "ns2.test."}}
	if diff := cmp.Diff(want, attributes); err != nil || diff != "" {
		t.Errorf("attributes of an unsigned zone: %v (-want +got):\n%s", err, diff)
	}
	signed := plain
	signed.Plan.DNSSEC = true
	for range 2 {
		if err := servicetest.Once(b).Update(ctx, plain, signed); err != nil {
			t.Fatal(err)
		}
	}
	checkSigned(t, b, signed)

	born := provisioned(t, b, "born signed", func(i *instance) { i.Plan.DNSSEC = true })
	checkSigned(t, b, born)
	if err := servicetest.Once(b).Update(ctx, signed, plain); err != nil { // as the engine undoes it
		t.Fatal(err)
	}
	if attributes, err := b.Describe(ctx, plain); err != nil || attributes["ds"] != nil {
		t.Errorf("attributes after the undo: %v, %v", attributes, err)
	}
	if _, err := b.Describe(ctx, newInstance("absent", nil)); err == nil {
		t.Error("an absent instance was described")
	}
}

// checkSigned validates as a resolver does: DS, DNSKEY, signature.
func checkSigned(t *testing.T, b *backend, inst instance) {
	t.Helper()
	attributes, err := b.Describe(testContext(t), inst)
	if err != nil {
		t.Fatal(err)
	}
	lines, _ := attributes["ds"].([]any)
	if len(lines) != 1 {
		t.Fatalf("attributes: %v", attributes)
	}
	record, err := dns.NewRR(lines[0].(string))
	if err != nil {
		t.Fatal(err)
	}
	ds, zone := record.(*dns.DS), zoneName(inst)
	if ds.Hdr.Name != zone {
		t.Errorf("DS of %s", ds.Hdr.Name)
	}
	var key *dns.DNSKEY
	for _, r := range askSigned(t, b, zone, dns.TypeDNSKEY) {
		if k, ok := r.(*dns.DNSKEY); ok && k.KeyTag() == ds.KeyTag {
			key = k
		}
	}
	if key == nil || !strings.EqualFold(key.ToDS(dns.SHA256).Digest, ds.Digest) {
		t.Fatalf("no DNSKEY fits %v", ds)
	}
	c := bound(t, b, inst, "b", BindingParams{})
	if err := c.Write(testContext(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	var set []dns.RR
	var signature *dns.RRSIG
	for _, r := range askSigned(t, b, c.owner("k"), dns.TypeTXT) {
		if s, ok := r.(*dns.RRSIG); ok {
			signature = s
		} else {
			set = append(set, r)
		}
	}
	if signature == nil || len(set) != 1 {
		t.Fatalf("answer: %v, %v", set, signature)
	}
	if err := signature.Verify(key, set); err != nil || !signature.ValidityPeriod(time.Now()) {
		t.Errorf("signature: %v", err)
	}
}

func askSigned(t *testing.T, b *backend, name string, kind uint16) []dns.RR {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, kind)
	m.SetEdns0(4096, true)
	client := dns.Client{Net: "tcp"}
	answer, _, err := client.ExchangeContext(testContext(t), m, b.server.Address())
	if err != nil {
		t.Fatal(err)
	}
	return answer.Answer
}
