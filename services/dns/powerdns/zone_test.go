package powerdns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func named(zone string) func(*instance) { return func(i *instance) { i.Params.Zone = zone } }

// settled is Provision as the engine calls it: again while it says NotYet.
func settled(ctx context.Context, b *backend, inst instance) error {
	for {
		err := servicetest.Once(b).Provision(ctx, inst)
		later, ok := errors.AsType[*services.NotYetError](err)
		if !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(later.After / 10):
		}
	}
}

func TestZoneNames(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	server.makeZone(t, "apps.test.",
		replacement(zone.Key{Name: "www.apps.test.", Type: "A"}, zone.Set{TTL: 60, Values: []string{"192.0.2.1"}}),
		replacement(zone.Key{Name: "x.deep.apps.test.", Type: "TXT"}, zone.Set{TTL: 60, Values: []string{`"x"`}}),
		replacement(zone.Key{Name: "delegated.apps.test.", Type: "NS"}, zone.Set{TTL: 60, Values: []string{"ns1.test."}}),
		replacement(zone.Key{Name: "*.apps.test.", Type: "A"}, zone.Set{TTL: 60, Values: []string{"192.0.2.9"}}))
	server.makeZone(t, "office.apps.test.")
	provisioned(t, b, "shop", named("shop.apps.test"))
	provisioned(t, b, "deep", named("a.b.c.apps.test."))
	for _, test := range []struct{ name, zone, want string }{
		{"another's", "shop.apps.test", "already exists"},
		{"another's in other letters", "SHOP.Apps.test.", "already exists"},
		{"below another's", "eu.shop.apps.test", "above or below"},
		{"far below another's", "x.y.z.shop.apps.test", "above or below"},
		{"above another's", "b.c.apps.test", "above or below"},
		{"far above another's", "c.apps.test", "above or below"},
		{"the operator's", "office.apps.test", "already exists"},
		{"below the operator's", "x.office.apps.test", "above or below"},
		{"over a record of the parent", "www.apps.test", "has records in the zone apps.test"},
		{"above a record of the parent", "deep.apps.test", "has records in the zone apps.test"},
		{"beside another's", "c2.b.c.apps.test", ""},
		{"with another's name as its end", "myshop.apps.test", ""},
		{"delegated by the parent", "delegated.apps.test", ""},
		{"below a name that is not a record's", "w.apps.test", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			inst := newInstance(t.Name(), named(test.zone))
			err := servicetest.Once(b).Provision(testContext(t), inst)
			message, rejected := services.IsRejected(err)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (!rejected || !strings.Contains(message, test.want) || !strings.HasPrefix(message, "parameters.zone: ")):
				t.Errorf("error: %v, want %q", err, test.want)
			}
			// A refused zone leaves nothing, and its removal affects no other.
			if left, err := server.leftOf(testContext(t), inst.Name, nil); test.want != "" && (err != nil || len(left) > 0) {
				t.Errorf("left: %v, %v", left, err)
			}
			if err := servicetest.Once(b).Deprovision(testContext(t), inst); err != nil {
				t.Error(err)
			}
		})
	}
	var left []string
	zones, err := b.zones(testContext(t), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range zones {
		left = append(left, z.Name)
	}
	slices.Sort(left)
	want := []string{"a.b.c.apps.test.", "apps.test.", "office.apps.test.", "shop.apps.test."}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("zones (-want +got):\n%s", diff)
	}
}

// Users ask at once for names that exclude each other: no two finished zones conflict at any
// moment, and one of the conflicting users gets its zone.
func TestZonesAtOnce(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	for round := range 5 {
		ctx := testContext(t)
		base := fmt.Sprintf("r%d.apps.test.", round)
		names := []string{base, base, "a." + base, "b.a." + base, "a." + base, "other-" + base}
		errs := make([]error, len(names))
		var wait sync.WaitGroup
		for i, name := range names {
			wait.Go(func() { errs[i] = settled(ctx, b, newInstance(fmt.Sprintf("%d/%d", round, i), named(name))) })
		}
		wait.Wait()
		var won []string
		for i, err := range errs {
			if err == nil {
				won = append(won, names[i])
			} else if _, rejected := services.IsRejected(err); !rejected {
				t.Errorf("%s: %v", names[i], err)
			}
		}
		for i, one := range won {
			for j, other := range won {
				if i != j && zone.AtOrBelow(one, other) {
					t.Errorf("both %s and %s were made", one, other)
				}
			}
		}
		if len(won) < 2 || !slices.Contains(won, "other-"+base) {
			t.Errorf("made: %v", won)
		}
		zones, err := b.zones(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		var there []string
		for _, z := range zones {
			if strings.Contains(z.Name, fmt.Sprintf("r%d.", round)) {
				there = append(there, z.Name)
			}
		}
		slices.Sort(won)
		slices.Sort(there)
		if diff := cmp.Diff(won, there); diff != "" {
			t.Errorf("zones on the server (-made +there):\n%s", diff)
		}
	}
}

// A change of a plan's parents affects no existing instance.
func TestPlanWithOtherParents(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	inst := provisioned(t, b, "i", nil)
	moved := inst
	moved.Plan.Parents = []string{"new.test"}
	if err := servicetest.Once(b).Provision(ctx, moved); err != nil {
		t.Error(err)
	}
	c := bound(t, b, moved, "b", BindingParams{})
	if want := inst.Name + ".apps.test."; c.zone != want {
		t.Errorf("zone: %s, want %s", c.zone, want)
	}
	if err := servicetest.Once(b).Deprovision(ctx, moved); err != nil {
		t.Fatal(err)
	}
	if left, err := server.leftOf(ctx, inst.Name, nil); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What the zone's records are, asked over DNS.
func TestRecordsAreAnswered(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	b.config.Hostmaster = "dns@example.net"
	long := strings.Repeat("0123456789", 60)
	inst := provisioned(t, b, "i", func(i *instance) {
		i.Params.Zone = "Shop.apps.test"
		i.Params.Records = []zone.Record{
			{Name: "@", Type: "MX", Values: []string{"10 Mail.example.com", "0 ."}},
			{Name: "www.shop.apps.test.", Type: "A", TTL: 61, Values: []string{"192.0.2.1"}},
			{Name: "*.W", Type: "AAAA", Values: []string{"2001:DB8:0::1"}},
			{Name: "t", Type: "TXT", Values: []string{long, `quo"te \ 🚢 ;`, ""}},
			{Name: "_sip._tcp", Type: "SRV", Values: []string{"1 2 3 sip.example.com."}},
			{Name: "@", Type: "CAA", Values: []string{`128 issue "ca.example; policy=x"`}},
			{Name: "sub", Type: "NS", Values: []string{"ns.sub.shop.apps.test"}},
			{Name: "ns.sub", Type: "A", Values: []string{"192.0.2.53"}},
		}
	})
	for _, want := range []struct {
		name string
		kind uint16
		text []string
	}{
		{"", dns.TypeSOA, []string{"3600 IN SOA ns1.test. dns.example.net."}},
		{"", dns.TypeNS, []string{"3600 IN NS ns1.test.", "3600 IN NS ns2.test."}},
		{"", dns.TypeMX, []string{"3600 IN MX 0 .", "3600 IN MX 10 mail.example.com."}},
		{"www.", dns.TypeA, []string{"61 IN A 192.0.2.1"}},
		{"any.w.", dns.TypeAAAA, []string{"3600 IN AAAA 2001:db8::1"}},
		{"_sip._tcp.", dns.TypeSRV, []string{"3600 IN SRV 1 2 3 sip.example.com."}},
		{"", dns.TypeCAA, []string{`3600 IN CAA 128 issue "ca.example; policy=x"`}},
	} {
		answer := ask(t, b, want.name+zoneName(inst), want.kind)
		var got []string
		for _, r := range answer.Answer {
			_, text, _ := strings.Cut(strings.Join(strings.Fields(r.String()), " "), " ")
			if want.kind == dns.TypeSOA {
				text = strings.Join(strings.Fields(text)[:5], " ")
			}
			got = append(got, text)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want.text, got); diff != "" {
			t.Errorf("%s%s (-want +got):\n%s", want.name, zoneName(inst), diff)
		}
	}
	var texts []string
	for _, r := range ask(t, b, "t."+zoneName(inst), dns.TypeTXT).Answer {
		texts = append(texts, unescaped(t, r))
	}
	slices.Sort(texts)
	if diff := cmp.Diff([]string{"", long, `quo"te \ 🚢 ;`}, texts); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	referral := ask(t, b, "x.sub."+zoneName(inst), dns.TypeA)
	if len(referral.Answer) != 0 || len(referral.Ns) != 1 || len(referral.Extra) == 0 {
		t.Errorf("no referral with glue: %v", referral)
	}
}

// ask asks the server a question over UDP, or TCP where the answer is long.
func ask(t *testing.T, b *backend, name string, kind uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, kind)
	client := dns.Client{Net: "tcp"}
	answer, _, err := client.ExchangeContext(testContext(t), m, b.server.Address())
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// unescaped is the text of a TXT record, from its bytes on the wire.
func unescaped(t *testing.T, r dns.RR) string {
	t.Helper()
	wire := make([]byte, dns.MaxMsgSize)
	end, err := dns.PackRR(r, wire, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	data := wire[end-int(dnsLength(r)) : end]
	var out []byte
	for len(data) > 0 {
		n := int(data[0])
		out = append(out, data[1:1+n]...)
		data = data[1+n:]
	}
	return string(out)
}

func dnsLength(r dns.RR) uint16 { return r.Header().Rdlength }
