package broker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/services"
)

// in is a request from an organization and a space, or, with a name beginning
// with "ns:", from a namespace.
func in(place, plan string) domain.ProvisionDetails {
	d := domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: plan}
	if plan == brokertest.OtherPlan {
		d.ServiceID = brokertest.OtherService
	}
	if name, ok := strings.CutPrefix(place, "ns:"); ok {
		d.RawContext = json.RawMessage(fmt.Sprintf(`{"platform": "kubernetes", "namespace": %q, "clusterid": "c"}`, name))
		return d
	}
	d.OrganizationGUID, d.SpaceGUID, _ = strings.Cut(place, "/")
	d.RawContext = json.RawMessage(fmt.Sprintf(`{"platform": "cloudfoundry", "organization_name": "name of %s"}`, d.OrganizationGUID))
	return d
}

const fourPlatforms = `platforms:
- {name: cf, username: a, passwords: [password]}
- {name: k8s, username: b, passwords: [password]}
- {name: k8s2, username: c, passwords: [password]}
- {name: other, username: d, passwords: [password]}
`

// Each quota with what it lets in, in order, and what it does not.
func TestQuotas(t *testing.T) {
	small, large, other := brokertest.Small, brokertest.Large, brokertest.OtherPlan
	type request struct{ platform, place, plan string }
	tests := []struct {
		name, quotas string
		taken        []request
		refused      map[request]string
		free         []request
	}{
		{
			"all together", `[{instances: 2}]`,
			[]request{{"cf", "o/s", small}, {"k8s", "ns:n", other}},
			map[request]string{{"other", "o2/s2", large}: `this broker has 2 of the 2 instances that it may have`}, nil,
		},
		{
			"a platform", `[{platform: cf, instances: 1}]`,
			[]request{{"cf", "o/s", small}},
			map[request]string{{"cf", "o2/s2", other}: `platform "cf" has 1 of the 1 instances`},
			[]request{{"k8s", "o/s", small}},
		},
		{
			"each platform", `[{platform: "*", instances: 1}]`,
			[]request{{"cf", "o/s", small}, {"k8s", "o/s", small}},
			map[request]string{{"k8s", "o/s", other}: `platform "k8s" has 1 of the 1`}, nil,
		},
		{
			"each organization, of one service", `[{organization: "*", service: memory, instances: 1}]`,
			[]request{{"cf", "o/s", small}, {"cf", "p/s", small}, {"cf", "ns:n", small}, {"cf", "ns:n", small}},
			map[request]string{{"cf", "o/s2", large}: `organization "name of o" has 1 of the 1 instances of service "memory" that it may have; delete one, or ask`},
			[]request{{"cf", "o/s", other}, {"k8s", "o/s", small}},
		},
		{
			"a space, of one plan", `[{space: s, service: memory, plan: small, instances: 1}]`,
			[]request{{"cf", "o/s", small}},
			map[request]string{{"cf", "o/s", small}: `space "s" has 1 of the 1 instances of service "memory", plan "small"`},
			[]request{{"cf", "o/s2", small}, {"cf", "o/s", large}},
		},
		{
			"each namespace", `[{namespace: "*", instances: 1}]`,
			[]request{{"k8s", "ns:n", small}, {"k8s", "ns:m", small}, {"k8s", "o/s", small}, {"k8s", "o/s", small}},
			map[request]string{{"k8s", "ns:n", other}: `namespace "n" has 1 of the 1`},
			[]request{{"k8s2", "ns:n", small}},
		},
		{
			"several", `[{organization: "*", instances: 5}, {organization: o, instances: 0}, {service: other, instances: 1}]`,
			[]request{{"cf", "p/s", other}},
			map[request]string{
				{"cf", "o/s", small}: `organization "name of o" may have no instances; ask the operator`,
				{"cf", "q/s", other}: `this broker has 1 of the 1 instances of service "other"`,
			},
			[]request{{"cf", "q/s", small}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, brokertest.Options{Sections: fourPlatforms + "quotas: " + test.quotas + "\n"})
			n := 0
			ask := func(r request) answer {
				n++
				return c.as(r.platform).provision(fmt.Sprint("i", n), in(r.place, r.plan), true)
			}
			for _, r := range test.taken {
				ask(r).want(t, "201")
			}
			for r, says := range test.refused {
				if a := ask(r).want(t, "Unsupported"); !strings.Contains(a.text(), says) {
					t.Errorf("%+v: %s", r, a.text())
				}
			}
			for _, r := range test.free {
				ask(r).want(t, "201")
			}
			if instances, _ := c.Backend.Size(); instances != len(test.taken)+len(test.free) {
				t.Errorf("%d instances at the backend", instances)
			}
		})
	}
}

const oneSmall = "quotas: [{organization: '*', service: memory, plan: small, instances: 1}]\n"

// What is not one more does not count as one more, and what is gone makes room.
func TestQuotaAtTheLimit(t *testing.T) {
	c := newClient(t, brokertest.Options{Sections: oneSmall})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	c.provision("i", on(brokertest.Small), true).want(t, "200")
	c.provision("j", on(brokertest.Small), true).want(t, "Unsupported")
	c.provision("j", on(brokertest.Large), true).want(t, "201")
	c.update("i", domain.UpdateDetails{RawParameters: json.RawMessage(`{"colour": "red"}`)}, true).want(t, "200")
	c.update("j", domain.UpdateDetails{PlanID: brokertest.Small}, true).want(t, "Unsupported")
	c.update("i", domain.UpdateDetails{PlanID: brokertest.Large}, true).want(t, "200")
	c.update("j", domain.UpdateDetails{PlanID: brokertest.Small}, true).want(t, "200")
	c.update("i", domain.UpdateDetails{PlanID: brokertest.Small}, true).want(t, "Unsupported")
	c.deprovision("j", true).want(t, "200")
	c.update("i", domain.UpdateDetails{PlanID: brokertest.Small}, true).want(t, "200")
	c.deprovision("i", true).want(t, "200")
	c.CheckEmpty(t)
}

// A create that was rejected left nothing that counts.
func TestQuotaOfRejected(t *testing.T) {
	c := newClient(t, brokertest.Options{Sections: oneSmall})
	failing(c, services.Rejected("no"), "provision i")
	c.provision("i", on(brokertest.Small), true).want(t, "Invalid")
	c.provision("j", on(brokertest.Small), true).want(t, "201")
	c.provision("i", on(brokertest.Small), true).want(t, "Unsupported")
}

// Retained instances do not count.
func TestQuotaOfRetained(t *testing.T) {
	c := newClient(t, brokertest.Options{Sections: "quotas: [{organization: '*', instances: 1}]\n"})
	c.provision("i", on(brokertest.Retaining), true).want(t, "201")
	c.provision("j", on(brokertest.Small), true).want(t, "Unsupported")
	c.deprovision("i", true).want(t, "200")
	c.provision("j", on(brokertest.Small), true).want(t, "201")
}

// Many at once, at two replicas, do not get past the limit.
func TestQuotaInParallel(t *testing.T) {
	const limit = 5
	quotas := fmt.Sprintf("quotas: [{platform: '*', instances: 100}, {organization: '*', instances: %d}, {organization: org, service: memory, plan: large, instances: 3}]\n", limit)
	first := newClient(t, brokertest.Options{Sections: quotas})
	second := client{newHarness(t, brokertest.Options{
		Sections: quotas, DatabaseURL: first.DatabaseURL, Backend: first.Backend, Credentials: first.Memory,
	}), brokertest.CallerContext()}
	var all sync.WaitGroup
	var mu sync.Mutex
	words := map[string]int{}
	for n := range 40 {
		all.Go(func() {
			c, plan := first, brokertest.Small
			if n%2 == 0 {
				c = second
			}
			if n%3 == 0 {
				plan = brokertest.Large
			}
			a := c.provision(fmt.Sprint("i", n), on(plan), true)
			mu.Lock()
			defer mu.Unlock()
			words[a.word]++
			if a.word == "Internal" {
				t.Error(errors.Unwrap(a.err))
			}
		})
	}
	all.Wait()
	instances, _ := first.Backend.Size()
	if instances != limit || words["201"] != limit || words["Unsupported"] != 40-limit {
		t.Errorf("%d instances; %v", instances, words)
	}
}
