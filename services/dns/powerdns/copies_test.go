package powerdns

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pdns "github.com/joeig/go-powerdns/v3"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// fill writes records of many types as an application, and a comment as the operator.
func (s *testServer) fill(t *testing.T, mine map[string]any) func(t *testing.T, theirs map[string]any) {
	c := dialled(t, mine)
	for i, record := range []string{
		"www 300 IN A 192.0.2.1", "www 300 IN A 192.0.2.2", "v6 3600 IN AAAA 2001:db8::1",
		"@ 3600 IN MX 10 mail.ZONE", "@ 3600 IN TXT \"v=spf1 -all\"", "alias 60 IN CNAME www.ZONE", "*.wild 60 IN CNAME www.example.org.",
		"_sip._tcp 60 IN SRV 10 5 5060 sip.ZONE", "lab 60 IN NS ns.lab.ZONE", "ns.lab 60 IN A 192.0.2.3",
		"host 60 IN SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789", "a.b.c 60 IN TXT \"quoted \\\"text\\\"\" \"second \\195\\188\"",
		"ptr 60 IN PTR target.ZONE", "@ 3600 IN CAA 0 issue \"letsencrypt.org\"", "odd\\.label 60 IN TXT \"dot\"",
		"@ 3600 IN NS ns.elsewhere.example.",
	} {
		name, rest, _ := strings.Cut(record, " ")
		name += "."
		if name == "@." {
			name = ""
		}
		if err := update(t, c.signer, c.zone, name+c.zone+" "+strings.ReplaceAll(rest, "ZONE", c.zone)); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	for i := range 40 {
		if err := update(t, c.signer, c.zone, fmt.Sprintf("bulk%d.%s 60 IN TXT \"%s\"", i, c.zone, strings.Repeat("x", 200))); err != nil {
			t.Fatal(err)
		}
	}
	set := replacement(zone.Key{Name: "noted." + c.zone, Type: "A"}, zone.Set{TTL: 300, Values: []string{"192.0.2.9"}})
	set.Comments = []pdns.Comment{{Content: pdns.String("do not touch"), Account: pdns.String("ops")}}
	if err := s.admin().Records.Patch(testContext(t), c.zone, &pdns.RRsets{Sets: []pdns.RRset{set}}); err != nil {
		t.Fatal(err)
	}
	want := s.everythingOf(t, c.zone)
	return func(t *testing.T, theirs map[string]any) {
		if diff := cmp.Diff(want, s.everythingOf(t, dialled(t, theirs).zone)); diff != "" {
			t.Errorf("the restored zone differs (-want +got):\n%s", diff)
		}
	}
}

// everythingOf returns the lines of a zone but for the SOA record and what the suite writes, with ZONE
// for its name.
func (s *testServer) everythingOf(t *testing.T, name string) []string {
	t.Helper()
	z, err := s.admin().Zones.Get(testContext(t), name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, set := range z.RRsets {
		if *set.Type == pdns.RRTypeSOA || strings.HasPrefix(*set.Name, "probe-") {
			continue
		}
		for _, r := range set.Records {
			lines = append(lines, fmt.Sprint(*set.Name, " ", *set.TTL, " ", *set.Type, " ", *r.Content))
		}
		for _, c := range set.Comments {
			lines = append(lines, fmt.Sprint(*set.Name, " comment ", *c.Content, *c.Account))
		}
	}
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], name, "ZONE")
	}
	slices.Sort(lines)
	return lines
}

func backup(t *testing.T, b *backend, inst instance) ([]byte, services.Contents) {
	t.Helper()
	var stream bytes.Buffer
	contents, err := b.Backup(testContext(t), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: &stream})
	if err != nil {
		t.Fatal(err)
	}
	return stream.Bytes(), contents
}

func restore(ctx context.Context, b *backend, inst instance, c services.Contents, stream []byte) error {
	_, err := b.Restore(ctx, services.RestoreRequest[Plan, InstanceParams]{Instance: inst, Contents: c, Reader: bytes.NewReader(stream)})
	return err
}

// A zone that is lost comes back under its name with the same DS record and a higher serial number, and
// the keys of old bindings stay refused.
func TestSameDelegation(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	named := func(i *instance) { i.Params.Zone, i.Plan.DNSSEC = "shop.apps.test", true }
	lost := provisioned(t, b, "lost", named)
	old := bound(t, b, lost, "b", BindingParams{})
	for range 3 {
		if err := old.Write(ctx, "key", "value"); err != nil {
			t.Fatal(err)
		}
	}
	before, err := b.Describe(ctx, lost)
	if err != nil {
		t.Fatal(err)
	}
	serial := serialOf(t, b, "shop.apps.test.")
	stream, contents := backup(t, b, lost)
	if described, _ := json.Marshal(contents); strings.Contains(string(described), "Private") {
		t.Errorf("the description contains a key: %s", described)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, lost); err != nil {
		t.Fatal(err)
	}
	found := provisioned(t, b, "found", named)
	if err := restore(ctx, b, found, contents, stream); err != nil {
		t.Fatal(err)
	}
	after, err := b.Describe(ctx, found)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the delegation differs (-want +got):\n%s", diff)
	}
	checkSigned(t, b, found)
	if now := serialOf(t, b, "shop.apps.test."); now <= serial {
		t.Errorf("serial %d after %d", now, serial)
	}
	if old.Write(ctx, "key", "evil") == nil {
		t.Error("a key of an old binding is accepted")
	}
	unsigned := newInstance("unsigned", func(i *instance) { named(i); i.Plan.DNSSEC = false })
	if err := servicetest.Patient(b).Deprovision(ctx, found); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Once(b).Provision(ctx, unsigned); err != nil {
		t.Fatal(err)
	}
	if message, rejected := services.IsRejected(restore(ctx, b, unsigned, contents, stream)); !rejected || !strings.Contains(message, "sign") {
		t.Errorf("restored into an unsigned zone: %q", message)
	}
}

func serialOf(t *testing.T, b *backend, name string) uint32 {
	t.Helper()
	answer, err := dns.ExchangeContext(testContext(t), new(dns.Msg).SetQuestion(name, dns.TypeSOA), b.server.Address())
	if err != nil || len(answer.Answer) != 1 {
		t.Fatalf("SOA: %v, %v", answer, err)
	}
	return answer.Answer[0].(*dns.SOA).Serial
}

// A copy cannot bring what users cannot make.
func TestHostileCopy(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	source := provisioned(t, b, "source", nil)
	target := provisioned(t, b, "target", func(i *instance) { i.Plan.Records = 3 })
	stream, _ := backup(t, b, source)
	name := zoneName(source)
	for what, change := range map[string]func(c *zoneCopy){
		"code":                     with("x."+name, "LUA", `A "return '192.0.2.1'"`),
		"code by its number":       with("x."+name, "TYPE65402", `\# 4 0a000001`),
		"a server's own type":      with("x."+name, "ALIAS", "example.org."),
		"a second SOA":             with("x."+name, "SOA", "a. b. 1 1 1 1 1"),
		"a name elsewhere":         with("www.example.org.", "A", "192.0.2.1"),
		"a name of another tenant": with(zoneName(target), "A", "192.0.2.1"),
		"a relative name":          with("x", "A", "192.0.2.1"),
		"an escaped dot":           with(`x\.`+name, "A", "192.0.2.1"),
		"a line break":             with("x."+name, "A", "192.0.2.1\nevil A 192.0.2.2"),
		"a value that is none":     with("x."+name, "A", "nonsense"),
		"an unknown type":          with("x."+name, "NONSENSE", "x"),
		"too many records": func(c *zoneCopy) {
			for i := range 4 {
				with(fmt.Sprintf("x%d.%s", i, name), "A", "192.0.2.1")(c)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			var c zoneCopy
			if err := json.Unmarshal(stream, &c); err != nil {
				t.Fatal(err)
			}
			change(&c)
			changed, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			contents, _ := c.contents()
			contents.Format = copyFormat
			message, rejected := services.IsRejected(restore(ctx, b, target, contents, changed))
			if !rejected {
				t.Errorf("restored, or not rejected: %q", message)
			}
			if got := server.everythingOf(t, zoneName(target)); len(got) != 2 {
				t.Errorf("the zone was changed: %v", got)
			}
		})
	}
	// The server's zone can have such a record all the same: it does not prevent a backup.
	var c zoneCopy
	if err := json.Unmarshal(stream, &c); err != nil {
		t.Fatal(err)
	}
	with("x."+name, "ALIAS", "example.org.")(&c)
	c.drop()
	if contents, err := c.contents(); err != nil || len(contents.Omitted) != 3 {
		t.Errorf("contents: %v, %v", contents, err)
	}
	if err := restore(ctx, b, target, services.Contents{Format: copyFormat}, append(stream, "more"...)); err == nil {
		t.Error("a copy that goes on after its end was restored")
	}
}

func with(name, kind, value string) func(c *zoneCopy) {
	return func(c *zoneCopy) {
		c.Sets = append(c.Sets, copiedSet{Name: name, Type: kind, TTL: 60, Records: []copiedRecord{{Content: value}}})
	}
}

// A zone of ten thousand records takes several requests, each of which the server can read.
func TestLargeZone(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	large := func(i *instance) { i.Plan.Records = 20000 }
	source, target := provisioned(t, b, "source", large), provisioned(t, b, "target", large)
	var sets []copiedSet
	for i := range 10000 {
		sets = append(sets, copiedSet{Name: fmt.Sprintf("h%d.%s", i, zoneName(source)), Type: "TXT", TTL: 60, ChangeType: "REPLACE",
			Records: []copiedRecord{{Content: `"` + strings.Repeat("x", 200) + `"`}}})
	}
	if err := b.patch(testContext(t), zoneName(source), sets); err != nil {
		t.Fatal(err)
	}
	stream, contents := backup(t, b, source)
	if contents.Counts["records"] != 10000 {
		t.Errorf("counts: %v", contents.Counts)
	}
	if err := restore(testContext(t), b, target, contents, stream); err != nil {
		t.Fatal(err)
	}
	if _, again := backup(t, b, target); again.Digest != contents.Digest {
		t.Error("the restored zone differs")
	}
}
