package designate

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	shared "github.com/chandler-broker/chandler/services/openstack"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	t.Cleanup(func() {
		left, err := s.find(testContext(t), func(name string) bool {
			return strings.HasPrefix(name, suitePrefix) || strings.HasSuffix(name, suiteParent+".")
		})
		if err != nil || len(left) > 0 {
			t.Errorf("left in the cloud: %v, %v", left, err)
		}
	})
	servicetest.Run(t, s.suite())
}

func (s *testServer) suite() servicetest.Suite {
	return servicetest.Suite{
		Definition: Definition(),
		Address:    s.gateway,
		Config:     func(address string) json.RawMessage { return s.configOf(address, suitePrefix) },
		Secrets:    []string{s.Identity.Broker().Password},
		Plan:       raw(`{"parents": ["suite.test", "other.suite.test"], "reserved": ["www"], "records": 100, "min_ttl": 60}`),
		OtherPlan:  raw(`{"parents": ["suite.test"], "records": 200, "min_ttl": 30}`),
		Create: []json.RawMessage{
			raw(`{"records": [{"name": "www", "type": "A", "ttl": 300, "values": ["192.0.2.1"]}, {"name": "text", "type": "TXT", "values": ["v=spf1 -all"]}]}`),
			raw(`{}`),
		},
		Update: []json.RawMessage{
			raw(`{"records": [{"name": "www", "type": "CNAME", "values": ["example.org"]}, {"name": "gone", "type": "A", "values": []}]}`),
		},
		Bind:     []json.RawMessage{raw(`{}`)},
		BindSame: []json.RawMessage{raw(`{"role": "read_write"}`)},
		ReadOnly: raw(`{"role": "read_only"}`),
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{
				"a zone elsewhere":           raw(`{"zone": "shop.example.org"}`),
				"the parent itself":          raw(`{"zone": "suite.test"}`),
				"a reserved zone":            raw(`{"zone": "www.suite.test"}`),
				"a zone that is a wildcard":  raw(`{"zone": "*.suite.test"}`),
				"an IPv6 address as A":       raw(`{"records": [{"name": "www", "type": "A", "values": ["2001:db8::1"]}]}`),
				"CAA with a parameter":       raw(`{"records": [{"name": "@", "type": "CAA", "values": ["0 issue letsencrypt.org; a=b"]}]}`),
				"a binding's parameter":      raw(`{"role": "read_only"}`),
				"more than the plan allows":  raw(`{"records": [{"name": "www", "type": "TXT", "values": ["` + strings.Join(strings.Split(strings.Repeat("x", 101), ""), `","`) + `"]}]}`),
				"a time to live of a minute": raw(`{"records": [{"name": "www", "type": "A", "ttl": 59, "values": ["192.0.2.1"]}]}`),
			},
			Update: map[string]json.RawMessage{
				"another zone":       raw(`{"zone": "shop.suite.test"}`),
				"a record elsewhere": raw(`{"records": [{"name": "www.example.org.", "type": "A", "values": ["192.0.2.1"]}]}`),
			},
			Bind: map[string]json.RawMessage{
				"an unknown role": raw(`{"role": "owner"}`),
				"an empty role":   raw(`{"role": ""}`),
				"names":           raw(`{"names": ["www"]}`),
			},
		},
		Reach:  reach,
		Left:   s.leftOf,
		Slow:   true, // Designate sends a zone to its name servers after a second
		Counts: changes,
	}
}

// attempt is a request that must be refused.
type attempt struct {
	name, method, path string
	body               any
	header             map[string]string
}

// refused fails t for each attempt that succeeds with the session's token.
func refused(t *testing.T, s *session, attempts []attempt) {
	t.Helper()
	for _, a := range attempts {
		client := *s.ServiceClient
		client.MoreHeaders = a.header
		address := a.path
		if !strings.HasPrefix(address, "http") {
			address = s.Endpoint + strings.TrimPrefix(a.path, "/")
		}
		if err := shared.Call(testContext(t), &client, a.method, address, a.body, nil); err == nil {
			t.Errorf("%s: not refused", a.name)
		}
	}
}

// reach tries to read, change and take another tenant's zone.
func reach(t *testing.T, mine, theirs map[string]any) {
	me, they := dialled(t, mine), dialled(t, theirs)
	record := map[string]any{"name": "evil." + they.zone, "type": "TXT", "records": []string{`"evil"`}}
	own, other, project := "/v2/zones/"+me.zoneID, "/v2/zones/"+they.zoneID, theirs["project_id"].(string)
	zone := func(name string) map[string]any {
		return map[string]any{"name": name, "email": "evil@example.org"}
	}
	refused(t, me, []attempt{
		{"read their zone", http.MethodGet, other, nil, nil},
		{"read their records", http.MethodGet, other + "/recordsets", nil, nil},
		{"write into their zone", http.MethodPost, other + "/recordsets", record, nil},
		{"their record in my zone", http.MethodPost, own + "/recordsets", record, nil},
		{"traversal", http.MethodPost, own + "/recordsets/../../" + they.zoneID + "/recordsets", record, nil},
		{"encoded traversal", http.MethodPost, own + "/recordsets/%2e%2e/%2e%2e/" + they.zoneID + "/recordsets", record, nil},
		{"encoded slash", http.MethodGet, own + "/recordsets/..%2f..%2f" + they.zoneID, nil, nil},
		{"double slash", http.MethodGet, "/v2//zones/" + they.zoneID + "/recordsets", nil, nil},
		{"as their project", http.MethodGet, other + "/recordsets", nil, map[string]string{"X-Auth-Sudo-Project-ID": project}},
		{"as their project, in an old word", http.MethodGet, other + "/recordsets", nil, map[string]string{"X-Auth-Sudo-Tenant-ID": project}},
		{"of all projects", http.MethodGet, "/v2/zones", nil, map[string]string{"X-Auth-All-Projects": "true"}},
		{"delete their zone", http.MethodDelete, other, nil, nil},
		{"delete my zone", http.MethodDelete, own, nil, nil},
		{"change my zone", http.MethodPatch, own, map[string]any{"description": "mine"}, nil},
		{"a sub-zone of theirs", http.MethodPost, "/v2/zones", zone("evil." + they.zone), nil},
		{"a zone", http.MethodPost, "/v2/zones", zone("evil.example.org."), nil},
		{"give my zone away", http.MethodPost, own + "/tasks/transfer_requests", map[string]any{}, nil},
		{"export my zone", http.MethodPost, own + "/tasks/export", nil, nil},
		{"share my zone", http.MethodPost, own + "/shares", map[string]any{"target_project_id": project}, nil},
		{"abandon my zone", http.MethodPost, own + "/tasks/abandon", nil, nil},
		{"raise my quotas", http.MethodPatch, "/v2/quotas/" + mine["project_id"].(string), map[string]any{"zones": 1000}, nil},
		{"read the pools", http.MethodGet, "/v2/pools", nil, nil},
		{"a TSIG key", http.MethodPost, "/v2/tsigkeys", map[string]any{"name": "evil"}, nil},
		{"a reverse record", http.MethodPatch, "/v2/reverse/floatingips/RegionOne:x", map[string]any{"ptrdname": "evil."}, nil},
	})
	if zones, err := listZones(testContext(t), me.ServiceClient); err != nil || len(zones) != 1 {
		t.Errorf("zones that a binding sees: %v, %v", zones, err)
	}
}

// changes reports whether a call changes something.
func changes(call []byte) bool {
	return !bytes.HasPrefix(call, []byte("GET ")) && !bytes.HasPrefix(call, []byte("POST /v3/auth/tokens "))
}
