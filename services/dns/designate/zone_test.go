package designate

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/dns/zone"
	shared "github.com/chandler-broker/chandler/services/openstack"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// named sets the zone's name, below a domain of this test's own.
func named(t *testing.T, name string) func(*instance) {
	return func(i *instance) { i.Params.Zone = name + "." + domainOf(t) + "." + parent }
}

// domainOf is a label of this test's own.
func domainOf(t *testing.T) string {
	test, _, _ := strings.Cut(t.Name(), "/")
	return strings.ToLower(test)
}

// expectRejected fails t unless an error is the user's and contains a text.
func expectRejected(t *testing.T, err error, want string) {
	t.Helper()
	if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, want) {
		t.Errorf("error: %v, want %q for the user", err, want)
	}
}

// Names of zones are taken by the first tenant.
func TestZoneNames(t *testing.T) {
	t.Parallel()
	b := newServer(t).backend(t)
	provisioned(t, b, "i", named(t, "shop"))
	for name, want := range map[string]string{
		"shop":     "already exists",
		"SHOP":     "already exists",
		"x.shop":   "lies above or below",
		"a.b.shop": "lies above or below",
	} {
		t.Run(name, func(t *testing.T) {
			inst := newInstance(t, name, named(t, name))
			expectRejected(t, servicetest.Patient(b).Provision(testContext(t), inst), want)
			if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
				t.Error(err)
			}
		})
	}
	provisioned(t, b, "below", named(t, "low.er"))
	above := newInstance(t, "above", named(t, "er"))
	expectRejected(t, servicetest.Patient(b).Provision(testContext(t), above), "lies above or below")
	if err := servicetest.Patient(b).Deprovision(testContext(t), above); err != nil {
		t.Error(err)
	}
	upper := provisioned(t, b, "upper", named(t, "UPPER"))
	values := bound(t, b, upper, "b", access.ReadWrite)
	if want := "upper." + domainOf(t) + "." + parent; values["zone"] != want {
		t.Errorf("zone: %v, want %s", values["zone"], want)
	}
}

// Of several users who ask for a name, or for nested ones, at the same time, at most one gets it,
// and the others are told.
func TestZoneRace(t *testing.T) {
	t.Parallel()
	b := newServer(t).backend(t)
	const rivals = 4
	errs := make([]error, rivals)
	var wait sync.WaitGroup
	for i := range rivals {
		inst := newInstance(t, fmt.Sprint(i), named(t, strings.Repeat("x.", i%2)+"race"))
		t.Cleanup(func() {
			if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
				t.Error(err)
			}
		})
		wait.Go(func() { errs[i] = servicetest.Patient(b).Provision(testContext(t), inst) })
	}
	wait.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		expectRejected(t, err, "parameters.zone: ")
	}
	if won != 1 {
		t.Errorf("%d instances got a zone: %v", won, errs)
	}
}

// withRecords is an instance with these records.
func withRecords(inst instance, records ...zone.Record) instance {
	inst.Params.Records = records
	return inst
}

// answers returns what the name server says, sorted as it comes.
func (s *testServer) answers(t *testing.T, name string, kind uint16) []string {
	t.Helper()
	answer, err := dns.ExchangeContext(testContext(t), new(dns.Msg).SetQuestion(dns.Fqdn(name), kind), s.DNS.NameServer.Address())
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, r := range append(answer.Answer, answer.Ns...) {
		if r.Header().Rrtype == kind {
			values = append(values, fmt.Sprintf("%d %s", r.Header().Ttl, strings.TrimPrefix(r.String(), r.Header().String())))
		}
	}
	return values
}

// All types of records reach the name server.
func TestRecords(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := s.backend(t)
	long := strings.Repeat(`a "quoted" \ text `, 20)
	inst := provisioned(t, b, "i", func(i *instance) {
		named(t, "z")(i)
		i.Params.Records = []zone.Record{
			{Name: "a", Type: "A", TTL: 300, Values: []string{"192.0.2.1"}},
			{Name: "v6", Type: "AAAA", Values: []string{"2001:db8::1"}},
			{Name: "@", Type: "MX", Values: []string{"10 mail.example.com"}},
			{Name: "@", Type: "CAA", Values: []string{"0 issue letsencrypt.org"}},
			{Name: "c", Type: "CNAME", Values: []string{"Example.org"}},
			{Name: "sub", Type: "NS", Values: []string{"ns.example.org"}},
			{Name: "_sip._tcp", Type: "SRV", Values: []string{"10 5 5060 sip.example.com"}},
			{Name: "t", Type: "TXT", Values: []string{long}},
			{Name: "u", Type: "TXT", Values: []string{"für alle"}},
			{Name: "e", Type: "TXT", Values: []string{""}},
		}
	})
	zoneOf := withoutDot(zoneName(inst))
	for _, want := range []struct {
		name  string
		kind  uint16
		value string
	}{
		{"a.", dns.TypeA, "300 192.0.2.1"},
		{"v6.", dns.TypeAAAA, "3600 2001:db8::1"},
		{"", dns.TypeMX, "3600 10 mail.example.com."},
		{"", dns.TypeCAA, `3600 0 issue "letsencrypt.org"`},
		{"c.", dns.TypeCNAME, "3600 example.org."},
		{"x.sub.", dns.TypeNS, "3600 ns.example.org."},
		{"_sip._tcp.", dns.TypeSRV, "3600 10 5 5060 sip.example.com."},
		{"u.", dns.TypeTXT, `3600 "f\195\188r alle"`},
		{"e.", dns.TypeTXT, `3600 ""`},
	} {
		if diff := cmp.Diff([]string{want.value}, s.answers(t, want.name+zoneOf, want.kind)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.name, diff)
		}
	}
	client := dns.Client{Net: "tcp"}
	answer, _, err := client.ExchangeContext(testContext(t), new(dns.Msg).SetQuestion("t."+zoneOf+".", dns.TypeTXT), s.DNS.NameServer.Address())
	if err != nil || len(answer.Answer) != 1 {
		t.Fatalf("the long text: %v, %v", answer, err)
	}
	if got := strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(strings.Join(answer.Answer[0].(*dns.TXT).Txt, "")); got != long {
		t.Errorf("the long text is %q", got)
	}
}

// An update changes what the parameters change, and leaves what applications made.
func TestUpdateKeepsApplicationsRecords(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := s.backend(t)
	first := provisioned(t, b, "i", func(i *instance) {
		named(t, "z")(i)
		*i = withRecords(*i, zone.Record{Name: "kept", Type: "A", Values: []string{"192.0.2.1"}},
			zone.Record{Name: "goes", Type: "A", Values: []string{"192.0.2.2"}},
			zone.Record{Name: "becomes", Type: "A", Values: []string{"192.0.2.4"}},
			zone.Record{Name: "shared", Type: "A", Values: []string{"192.0.2.5"}})
	})
	app := dialled(t, bound(t, b, first, "b", access.ReadWrite))
	app.set(t, "own", "192.0.2.100")
	app.set(t, "shared", "192.0.2.5", "192.0.2.101")
	app.set(t, "junk", "192.0.2.102")
	second := withRecords(first, zone.Record{Name: "kept", Type: "A", Values: []string{"192.0.2.1"}},
		zone.Record{Name: "becomes", Type: "CNAME", Values: []string{"example.org"}},
		zone.Record{Name: "shared", Type: "A", Values: []string{"192.0.2.50"}},
		zone.Record{Name: "new", Type: "A", TTL: 60, Values: []string{"192.0.2.6"}},
		zone.Record{Name: "junk", Type: "A", Values: []string{}})
	for _, step := range []struct {
		prev, next instance
		want       map[string]string
	}{
		{first, second, map[string]string{"kept": "192.0.2.1", "becomes": "example.org.", "shared": "192.0.2.101 192.0.2.50", "new": "192.0.2.6", "own": "192.0.2.100"}},
		{second, first, map[string]string{"kept": "192.0.2.1", "becomes": "192.0.2.4", "shared": "192.0.2.101 192.0.2.5", "goes": "192.0.2.2", "own": "192.0.2.100"}},
	} {
		for range 2 {
			if err := servicetest.Patient(b).Update(testContext(t), step.prev, step.next); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(step.want, app.all(t)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		}
	}
}

// set writes a set of addresses as an application.
func (s *session) set(t *testing.T, label string, values ...string) {
	t.Helper()
	found, err := s.find(testContext(t), label+"."+s.zone, "A")
	if err != nil {
		t.Fatal(err)
	}
	address, method := s.ServiceURL("zones", s.zoneID, "recordsets"), http.MethodPost
	body := map[string]any{"records": values}
	if found.ID == "" {
		body["name"], body["type"] = label+"."+s.zone, "A"
	} else {
		address, method = address+"/"+found.ID, http.MethodPut
	}
	if err := shared.Call(testContext(t), s.ServiceClient, method, address, body, nil); err != nil {
		t.Fatal(err)
	}
}

// all returns the zone's addresses and aliases by label.
func (s *session) all(t *testing.T) map[string]string {
	t.Helper()
	has, err := readRecords(testContext(t), s.ServiceClient, s.zoneID)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for key, set := range has.sets {
		if key.Type == "A" || key.Type == "CNAME" {
			found[strings.TrimSuffix(key.Name, "."+s.zone)] = strings.Join(slices.Sorted(slices.Values(set.Values)), " ")
		}
	}
	return found
}

// More record sets than one call writes, and more than the quota allows.
func TestManyRecords(t *testing.T) {
	t.Parallel()
	b := newServer(t).backend(t)
	many := func(n int) func(*instance) {
		return func(i *instance) {
			named(t, "z")(i)
			i.Plan.Records = 1000
			for n := range n {
				i.Params.Records = append(i.Params.Records, zone.Record{Name: fmt.Sprintf("r%d", n), Type: "A", Values: []string{"192.0.2.1"}})
			}
		}
	}
	inst := provisioned(t, b, "i", many(maxWrites+10))
	app := dialled(t, bound(t, b, inst, "b", access.ReadOnly))
	if got := app.all(t); len(got) != maxWrites+10 {
		t.Errorf("%d record sets", len(got))
	}
	values := make([]string, 21)
	for i := range values {
		values[i] = fmt.Sprintf("192.0.2.%d", i)
	}
	larger := withRecords(inst, zone.Record{Name: "large", Type: "A", Values: values})
	expectRejected(t, servicetest.Patient(b).Update(testContext(t), inst, larger), "quota (Quota exceeded for recordset_records.)")
}

// What an operator made by hand in an instance's project does not stop its deprovision.
func TestDeprovisionEmptiesTheProject(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := s.backend(t)
	inst := provisioned(t, b, "i", named(t, "z"))
	_, client, err := b.enter(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x." + zoneName(inst), "y.x." + zoneName(inst), "other." + domainOf(t) + ".example."} {
		err := shared.Call(testContext(t), client, http.MethodPost, client.ServiceURL("zones"), map[string]any{"name": name, "email": "hand@example.org"}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	if left, err := s.leftOf(testContext(t), inst.Name, nil); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	var zones struct{ Zones []struct{ Name string } }
	if err := shared.Call(testContext(t), s.dnsAdmin, http.MethodGet, s.dnsAdmin.Endpoint+"zones?limit=1000", nil, &zones); err != nil {
		t.Fatal(err)
	}
	for _, z := range zones.Zones {
		if strings.Contains(z.Name, domainOf(t)) {
			t.Errorf("left: zone %s", z.Name)
		}
	}
}

// Somebody deleted the project or the zone by hand.
func TestDeletedByHand(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := s.backend(t)
	inst := provisioned(t, b, "i", named(t, "z"))
	p, client, err := b.enter(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	for found := true; found; {
		if found, err = empty(testContext(t), client); err != nil {
			t.Fatal(err)
		}
	}
	for name, harm := range map[string]func() error{
		"the zone": func() error { return nil },
		"the project": func() error {
			return shared.Call(testContext(t), s.admin, http.MethodDelete, s.admin.Endpoint+"projects/"+p.ID, nil, nil)
		},
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		_, err := servicetest.Once(b).Bind(testContext(t), inst, services.Binding[BindingParams]{ID: "b", Name: services.BindingName(inst.ID, "b"), Params: BindingParams{Role: access.ReadWrite}, Seed: newSeed(t)})
		if err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s: bind: %v", name, err)
		}
	}
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Error(err)
	}
	if left, err := s.leftOf(testContext(t), inst.Name, []string{services.BindingName(inst.ID, "b")}); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	b := newServer(t).backend(t)
	inst := provisioned(t, b, "i", func(i *instance) { named(t, "z")(i); i.Plan.Records = 30 })
	got, err := b.Describe(testContext(t), inst)
	if err != nil {
		t.Fatal(err)
	}
	delete(got, "zone_id")
	if len(got["nameservers"].([]any)) == 0 {
		t.Errorf("name servers: %v", got)
	}
	delete(got, "nameservers")
	if diff := cmp.Diff(map[string]any{"zone": withoutDot(zoneName(inst)), "status": "ACTIVE", "records_limit": 30.0}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A zone whose creation was abandoned appears after a deprovision began.
func TestLateZone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := s.backend(t)
	inst := newInstance(t, "i", named(t, "late"))
	p, err := b.cloud.EnsureProject(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	client, err := b.client(testContext(t), p)
	if err != nil {
		t.Fatal(err)
	}
	err = servicetest.Once(b).Deprovision(testContext(t), inst)
	if _, ok := errors.AsType[*services.NotYetError](err); !ok {
		t.Fatalf("the first call: %v", err)
	}
	if _, err := b.ensureZone(testContext(t), client, inst, false); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	if left, err := s.leftOf(testContext(t), inst.Name, nil); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	provisioned(t, b, "again", named(t, "late"))
}
