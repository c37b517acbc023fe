package powerdns

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// wrapSerial raises the zone's serial number until it is the same again, by steps of less than
// half of the numbers, each of which makes it a later number (RFC 1982).
func wrapSerial(t *testing.T, b *backend, c *client) {
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

// An application cannot hide a change by wrapping the serial number.
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
	wrapSerial(t, b, c)
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

// Times to live are raised despite sets that do not fit into an update or that the broker
// cannot read, and those sets' own, too.
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
	sets, err := b.read(testContext(t), c.zone)
	if err != nil {
		t.Fatal(err)
	}
	if count, low := inspect(c.zone, sets, inst.Plan.MinTTL, 2); count != len(large)+2 || len(low) > 0 {
		t.Errorf("%d records, low: %v", count, low)
	}
}

// No record in the zone breaks its credentials.
func TestHolderKeepsItsCredentials(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst := provisioned(t, b, "i", nil)
	c := bound(t, b, inst, "b", BindingParams{})
	reader := bound(t, b, inst, "r", BindingParams{Role: access.ReadOnly})
	for _, r := range []string{
		c.name + c.zone + " 60 IN TXT x", "@ 60 IN KEY 256 3 8 aabb", "@ 60 IN TXT TSIG-ALLOW-DNSUPDATE", "@ 60 IN DNSKEY 256 3 8 aabb",
		"@ 60 IN NS evil.example.org.", "*.@ 60 IN CNAME example.org.", "sub.@ 60 IN NS evil.example.org.",
	} {
		if err := update(t, c.signer, c.zone, strings.Replace(r, "@", c.zone, 1)); err != nil {
			t.Logf("%s: %v", r, err)
		}
	}
	for _, remove := range []func(*dns.Msg){
		func(m *dns.Msg) { m.RemoveName(insertion(t, c.zone, c.zone+" 60 IN TXT x").Ns) },
		func(m *dns.Msg) {
			m.RemoveRRset(insertion(t, c.zone, c.zone+" 60 IN SOA a. b. 1 1 1 1 1").Ns)
		},
		func(m *dns.Msg) { m.RemoveRRset(insertion(t, c.zone, c.zone+" 60 IN NS x.").Ns) },
		func(m *dns.Msg) { m.RemoveName(insertion(t, c.zone, c.name+" 60 IN TXT x").Ns) },
	} {
		m := new(dns.Msg).SetUpdate(c.zone)
		remove(m)
		if _, err := c.exchange(testContext(t), m); err != nil {
			t.Logf("removal: %v", err)
		}
	}
	for name, session := range map[string]*client{"the holder's own": c, "another's": reader} {
		if err := session.Ping(testContext(t)); err != nil {
			t.Errorf("%s credentials: %v", name, err)
		}
	}
	if err := servicetest.Once(b).Unbind(testContext(t), inst, newBinding(t, inst, "b", BindingParams{})); err != nil {
		t.Error(err)
	}
	if c.Ping(testContext(t)) == nil {
		t.Error("the key outlived its binding")
	}
}

// A certain update makes PowerDNS on SQLite answer SERVFAIL to the updates of all tenants until
// it is restarted. The broker reports that; unbind, deprovision and limits work meanwhile.
func TestServerThatIsStuck(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	inst := provisioned(t, b, "i", nil)
	c := bound(t, b, inst, "b", BindingParams{})
	other := provisioned(t, b, "other", nil)
	bd := newBinding(t, other, "b", BindingParams{})
	made, err := servicetest.Once(b).Bind(ctx, other, bd)
	if err != nil {
		t.Fatal(err)
	}
	if err := update(t, c.signer, c.zone, "low."+c.zone+" 5 IN A 192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	look := func() error {
		_, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{other, inst})
		return err
	}
	bad := strings.ReplaceAll("@ 60 IN NSEC3PARAM 5 1 1 aabb", "@", c.zone)
	if err := update(t, c.signer, c.zone, bad); err == nil {
		t.Skip("this server takes the update")
	}
	if c.Ping(ctx) == nil {
		t.Skip("this server does not get stuck")
	}
	for range 2 {
		if err := look(); err != nil {
			t.Errorf("keep: %v", err)
		}
		if err := b.Ready(ctx); !errors.Is(err, errStuck) {
			t.Errorf("ready: %v", err)
		}
	}
	if got := ask(t, b, "low."+c.zone, dns.TypeA).Answer[0].Header().Ttl; got != 60 {
		t.Errorf("time to live: %d", got)
	}
	if err := servicetest.Once(b).Unbind(ctx, other, bd); err != nil {
		t.Error(err)
	}
	if _, err := b.api.TSIGKeys.Get(ctx, b.names.key(other.Name, bd.Name)); !absent(err) {
		t.Errorf("the key outlived its binding: %v", err)
	}
	server.Kill()
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(look(), b.Ready(ctx), c.Ping(ctx)); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if _, err := dial(ctx, made.Values); err == nil {
		t.Error("the removed key is let in")
	}
}

// An application that updates its zone without a pause does not delay the unbind and the
// deprovision of another tenant's instance.
func TestFloodHoldsUpNobody(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	flooder := bound(t, b, provisioned(t, b, "flooder", nil), "b", BindingParams{})
	inst := provisioned(t, b, "other", nil)
	bd := newBinding(t, inst, "b", BindingParams{})
	if _, err := servicetest.Once(b).Bind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	flooding, stop := context.WithCancel(ctx)
	var floods sync.WaitGroup
	for i := range 4 {
		floods.Go(func() {
			for n := 0; flooding.Err() == nil; n++ {
				_, _ = flooder.exchange(flooding, insertion(t, flooder.zone, fmt.Sprintf("f%d-%d.%s 60 IN TXT x", i, n%100, flooder.zone)))
			}
		})
	}
	defer floods.Wait()
	defer stop()
	began := time.Now()
	for _, verb := range []func(context.Context) error{
		func(ctx context.Context) error { return servicetest.Once(b).Unbind(ctx, inst, bd) },
		func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, inst) },
	} {
		if err := servicetest.ToTheEnd(ctx, verb); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the unbind and the deprovision took %v", took)
	}
}
