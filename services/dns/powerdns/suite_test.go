package powerdns

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services/servicetest"
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func TestSuite(t *testing.T) { servicetest.Run(t, newServer(t).suite()) }

func (s *testServer) suite() servicetest.Suite {
	return servicetest.Suite{
		Definition: Definition(),
		Address:    s.apiAddress(),
		Config:     s.proxied,
		Secrets:    []string{s.APIKey()},
		Plan:       raw(`{"parents": ["apps.test", "other.test"], "reserved": ["www"], "records": 100, "min_ttl": 60}`),
		OtherPlan:  raw(`{"parents": ["apps.test"], "records": 200, "min_ttl": 30, "dnssec": true}`),
		Create: []json.RawMessage{
			raw(`{}`),
			raw(`{"records": [
				{"name": "@", "type": "MX", "values": ["10 mail.example.com"]},
				{"name": "www", "type": "A", "ttl": 300, "values": ["192.0.2.1", "192.0.2.2"]},
				{"name": "text", "type": "TXT", "values": ["v=spf1 -all"]},
				{"name": "_sip._tcp", "type": "SRV", "values": ["10 5 5060 sip.example.com"]},
				{"name": "@", "type": "CAA", "values": ["0 issue letsencrypt.org"]},
				{"name": "away", "type": "NS", "values": ["ns.example.org"]},
				{"name": "*.wild", "type": "CNAME", "values": ["www.example.org."]},
				{"name": "v6", "type": "AAAA", "values": ["2001:db8::1"]}]}`),
		},
		Update: []json.RawMessage{
			raw(`{"records": [{"name": "www", "type": "A", "ttl": 60, "values": ["192.0.2.3"]}]}`),
			raw(`{"records": [{"name": "www", "type": "CNAME", "values": ["example.org"]}, {"name": "gone", "type": "A", "values": []}]}`),
		},
		Bind:     []json.RawMessage{raw(`{}`)},
		BindSame: []json.RawMessage{raw(`{"role": "read_write"}`)},
		ReadOnly: raw(`{"role": "read_only"}`),
		Invalid: servicetest.Invalid{
			Create: invalidCreate(),
			Update: map[string]json.RawMessage{
				"another zone":       raw(`{"zone": "shop.apps.test"}`),
				"a record elsewhere": raw(`{"records": [{"name": "www.example.org.", "type": "A", "values": ["192.0.2.1"]}]}`),
			},
			Bind: map[string]json.RawMessage{
				"an unknown role":                        raw(`{"role": "owner"}`),
				"an empty role":                          raw(`{"role": ""}`),
				"names, which the server cannot enforce": raw(`{"names": ["www"]}`),
				"types, which the server cannot enforce": raw(`{"types": ["TXT"]}`),
				"roles as a list":                        raw(`{"role": ["read_only"]}`),
			},
		},
		Reach:  reach,
		Limits: limitsThatHold(),
		Fill:   s.fill,
		Left:   s.leftOf,
	}
}

// record is a parameter "records" with one record.
func record(name, kind string, values string) json.RawMessage {
	return raw(`{"records": [{"name": "` + name + `", "type": "` + kind + `", "values": ` + values + `}]}`)
}

func invalidCreate() map[string]json.RawMessage {
	return map[string]json.RawMessage{
		"a zone elsewhere":                raw(`{"zone": "shop.example.org"}`),
		"the parent itself":               raw(`{"zone": "apps.test"}`),
		"a name that ends like a parent":  raw(`{"zone": "shopapps.test"}`),
		"a reserved zone":                 raw(`{"zone": "www.apps.test"}`),
		"a zone below a reserved one":     raw(`{"zone": "x.www.apps.test"}`),
		"a zone with a space":             raw(`{"zone": "my shop.apps.test"}`),
		"a zone with an empty label":      raw(`{"zone": "shop..apps.test"}`),
		"a zone with a long label":        raw(`{"zone": "` + strings.Repeat("x", 64) + `.apps.test"}`),
		"a zone that is a wildcard":       raw(`{"zone": "*.apps.test"}`),
		"a zone beyond ASCII":             raw(`{"zone": "köln.apps.test"}`),
		"a label only":                    raw(`{"zone": "shop"}`),
		"an IPv6 address as A":            record("www", "A", `["2001:db8::1"]`),
		"an IPv4 address as AAAA":         record("www", "AAAA", `["192.0.2.1"]`),
		"a zone in an address":            record("www", "AAAA", `["fe80::1%eth0"]`),
		"a name as A":                     record("www", "A", `["example.org"]`),
		"an unknown type":                 record("www", "LUA", `["A \"return 1\""]`),
		"the zone's SOA":                  record("@", "SOA", `["a. b. 1 1 1 1 1"]`),
		"the zone's NS":                   record("@", "NS", `["ns.example.org"]`),
		"the zone as CNAME":               record("@", "CNAME", `["example.org"]`),
		"two CNAMEs":                      record("www", "CNAME", `["a.example.org", "b.example.org"]`),
		"a value twice":                   record("www", "A", `["192.0.2.1", "192.0.2.1"]`),
		"a value twice in other words":    record("www", "CNAME", `["a.example.org", "A.example.org."]`),
		"MX without preference":           record("@", "MX", `["mail.example.com"]`),
		"MX with a large preference":      record("@", "MX", `["70000 mail.example.com"]`),
		"SRV without a port":              record("_sip._tcp", "SRV", `["10 5 sip.example.com"]`),
		"CAA without a value":             record("@", "CAA", `["0 issue"]`),
		"CAA with a quote in its value":   record("@", "CAA", `["0 issue \"a\"b\""]`),
		"TXT in quotes":                   record("www", "TXT", `["\"text\""]`),
		"a line break in a target":        record("www", "CNAME", `["a.example.org.\nevil A 192.0.2.1"]`),
		"a name out of the zone":          record("www.example.org.", "A", `["192.0.2.1"]`),
		"an empty name":                   record("", "A", `["192.0.2.1"]`),
		"a wildcard in the middle":        record("a.*.b", "A", `["192.0.2.1"]`),
		"a wildcard delegation":           record("*.a", "NS", `["ns.example.org"]`),
		"no values":                       raw(`{"records": [{"name": "www", "type": "A"}]}`),
		"a time to live below the plan's": raw(`{"records": [{"name": "www", "type": "A", "ttl": 59, "values": ["192.0.2.1"]}]}`),
		"a negative time to live":         raw(`{"records": [{"name": "www", "type": "A", "ttl": -1, "values": ["192.0.2.1"]}]}`),
		"a time to live of a year":        raw(`{"records": [{"name": "www", "type": "A", "ttl": 31536000, "values": ["192.0.2.1"]}]}`),
		"a time to live in words":         raw(`{"records": [{"name": "www", "type": "A", "ttl": "1h", "values": ["192.0.2.1"]}]}`),
		"an unknown key in a record":      raw(`{"records": [{"name": "www", "type": "A", "values": [], "set_ptr": true}]}`),
		"a binding's parameter":           raw(`{"role": "read_only"}`),
		"CNAME and another type": raw(`{"records": [{"name": "www", "type": "A", "values": ["192.0.2.1"]},
			{"name": "www", "type": "CNAME", "values": ["example.org"]}]}`),
		"one set in two entries": raw(`{"records": [{"name": "www", "type": "A", "values": ["192.0.2.1"]},
			{"name": "WWW", "type": "A", "values": ["192.0.2.2"]}]}`),
		"TXT below a delegation": raw(`{"records": [{"name": "away", "type": "NS", "values": ["ns.away.example.org"]},
			{"name": "x.away", "type": "TXT", "values": ["hidden"]}]}`),
		"more records than the plan has": record("www", "TXT", `["`+strings.Join(strings.Split(strings.Repeat("x", 101), ""), `","`)+`"]`),
	}
}

// reach tries to read, change and take another tenant's zone.
func reach(t *testing.T, mine, theirs map[string]any) {
	me, they := dialled(t, mine), dialled(t, theirs)
	for name, try := range map[string]func() error{
		"update of their zone": func() error { return update(t, me.signer, they.zone, "evil."+they.zone+" 60 IN TXT evil") },
		"their record in an update of my zone": func() error {
			return update(t, me.signer, me.zone, "evil."+they.zone+" 60 IN TXT evil")
		},
		"update of their zone's NS": func() error { return update(t, me.signer, they.zone, they.zone+" 60 IN NS evil.test.") },
		"update of the parent":      func() error { return update(t, me.signer, "apps.test.", they.zone+" 60 IN NS evil.test.") },
		"their key's name, my secret": func() error {
			return update(t, newSigner(me.address, they.name, me.algorithm, me.secret), they.zone, "evil."+they.zone+" 60 IN TXT evil")
		},
		"their keeper, no secret": func() error {
			keeper := "keeper." + strings.SplitN(they.name, ".", 2)[1]
			return update(t, newSigner(me.address, keeper, me.algorithm, ""), they.zone, "evil."+they.zone+" 60 IN TXT evil")
		},
		"deletion of their record": func() error {
			m := new(dns.Msg).SetUpdate(they.zone)
			m.RemoveName([]dns.RR{insertion(t, they.zone, they.owner("secret")+" 60 IN TXT x").Ns[0]})
			_, err := me.exchange(testContext(t), m)
			return err
		},
		"deletion of their zone's data": func() error {
			m := new(dns.Msg).SetUpdate(they.zone)
			m.RemoveName([]dns.RR{insertion(t, they.zone, they.zone+" 60 IN TXT x").Ns[0]})
			_, err := me.exchange(testContext(t), m)
			return err
		},
		"a flood of updates": func() error {
			var err error
			for range 100 {
				if err = update(t, me.signer, they.zone, "flood."+they.zone+" 60 IN TXT evil"); err == nil {
					return nil
				}
			}
			return err
		},
		"update without a key": func() error { return unsigned(t, me.address, they.zone, "evil."+they.zone+" 60 IN TXT evil") },
		"transfer of their zone": func() error {
			c := &client{signer: me.signer, zone: they.zone, reader: true}
			_, err := c.transfer(testContext(t))
			return err
		},
		"transfer without a key": func() error {
			m, tr := new(dns.Msg).SetAxfr(they.zone), &dns.Transfer{}
			envelopes, err := tr.In(m, me.address)
			if err != nil {
				return err
			}
			for e := range envelopes {
				err = e.Error
			}
			return err
		},
	} {
		if try() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// update adds one record to a zone.
func update(t *testing.T, s signer, zone, record string) error {
	t.Helper()
	_, err := s.exchange(testContext(t), insertion(t, zone, record))
	return err
}

func insertion(t *testing.T, zone, record string) *dns.Msg {
	t.Helper()
	r, err := dns.NewRR(record)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg).SetUpdate(zone)
	m.Insert([]dns.RR{r})
	return m
}

func unsigned(t *testing.T, address, zone, record string) error {
	t.Helper()
	answer, err := dns.ExchangeContext(testContext(t), insertion(t, zone, record), address)
	if err == nil && answer.Rcode != dns.RcodeSuccess {
		err = &rcodeError{answer.Rcode}
	}
	return err
}

func limitsThatHold() []servicetest.Limit {
	return []servicetest.Limit{
		{Name: "records", Plan: raw(`{"parents": ["apps.test"], "records": 3}`), Holds: holdsRecords},
		{Name: "time to live", Plan: raw(`{"parents": ["apps.test"], "min_ttl": 300}`), Holds: holdsTTL},
	}
}

func holdsRecords(t *testing.T, use servicetest.Use) {
	c := dialled(t, use.Bind(t, nil))
	for _, key := range []string{"1", "2", "3"} {
		if err := c.Write(testContext(t), key, "fits"); err != nil {
			t.Fatal(err)
		}
	}
	if note := use.Reconcile(t); note != "" {
		t.Errorf("note: %q", note)
	}
	if err := c.Write(testContext(t), "4", "too much"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time without a change
		if note := use.Reconcile(t); !strings.HasPrefix(note, "records: 4 of 3 ") {
			t.Errorf("note: %q", note)
		}
	}
	if err := c.Write(testContext(t), "5", "refused"); err == nil {
		t.Error("an update was taken")
	}
	if got, err := dns.ExchangeContext(testContext(t), new(dns.Msg).SetQuestion(c.owner("1"), dns.TypeTXT), c.address); err != nil || len(got.Answer) != 1 {
		t.Errorf("what was there is not answered any more: %v, %v", got, err)
	}
}

func holdsTTL(t *testing.T, use servicetest.Use) {
	c := dialled(t, use.Bind(t, nil))
	for _, record := range []string{"a 1 IN A 192.0.2.1", "a 1 IN A 192.0.2.2", "b 299 IN TXT \"x y\"", "c 301 IN A 192.0.2.1", "d 5 IN SRV 1 2 3 example.org."} {
		name, rest, _ := strings.Cut(record, " ")
		if err := update(t, c.signer, c.zone, name+"."+c.zone+" "+rest); err != nil {
			t.Fatal(err)
		}
	}
	if note := use.Reconcile(t); note != "" {
		t.Errorf("note: %q", note)
	}
	for _, want := range []struct {
		name string
		kind uint16
		ttl  uint32
		n    int
	}{{"a", dns.TypeA, 300, 2}, {"b", dns.TypeTXT, 300, 1}, {"c", dns.TypeA, 301, 1}, {"d", dns.TypeSRV, 300, 1}} {
		answer, err := dns.ExchangeContext(testContext(t), new(dns.Msg).SetQuestion(want.name+"."+c.zone, want.kind), c.address)
		if err != nil || len(answer.Answer) != want.n {
			t.Fatalf("%s: %v, %v", want.name, answer, err)
		}
		for _, r := range answer.Answer {
			if r.Header().Ttl != want.ttl {
				t.Errorf("time to live: %v, want %d", r, want.ttl)
			}
		}
	}
}
