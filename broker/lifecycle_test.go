package broker_test

import (
	"encoding/json"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func newHarness(t *testing.T, o brokertest.Options) *brokertest.Harness {
	t.Helper()
	if o.DatabaseURL == "" {
		o.DatabaseURL = embeddedtest.Database(t)
	}
	return brokertest.New(t, o)
}

func TestLifecycle(t *testing.T) {
	h := newHarness(t, brokertest.Options{})
	ctx := brokertest.Caller()
	spec, err := h.Provision(ctx, "i1", domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: brokertest.Small}, true)
	if err != nil || spec.IsAsync || spec.AlreadyExists {
		t.Fatalf("provision: %+v, %v", spec, err)
	}
	binding, err := h.Bind(ctx, "i1", "b1", domain.BindDetails{ServiceID: brokertest.Service, PlanID: brokertest.Small}, true)
	if err != nil || binding.IsAsync {
		t.Fatalf("bind: %+v, %v", binding, err)
	}
	credentials, _ := json.Marshal(binding.Credentials)
	if !h.Backend.Works(credentials) {
		t.Errorf("the credentials do not work")
	}
	if _, err := h.Unbind(ctx, "i1", "b1", domain.UnbindDetails{}, true); err != nil {
		t.Fatalf("unbind: %v", err)
	}
	if h.Backend.Works(credentials) {
		t.Errorf("the revoked credentials work")
	}
	if _, err := h.Deprovision(ctx, "i1", domain.DeprovisionDetails{}, true); err != nil {
		t.Fatalf("deprovision: %v", err)
	}
	if instances, bindings := h.Backend.Size(); instances+bindings+h.Memory.Len() != 0 {
		t.Errorf("left behind: %d instances, %d bindings, %d secrets", instances, bindings, h.Memory.Len())
	}
}
