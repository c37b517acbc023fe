package broker_test

import (
	"encoding/json"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// The volume mounts of a binding are told at each answer, come from the
// credential store alone, and go with the binding.
func TestVolumeMounts(t *testing.T) {
	t.Parallel()
	h := newHarness(t, brokertest.Options{})
	ctx := brokertest.CallerContext()
	plan := domain.ProvisionDetails{ServiceID: brokertest.Volume, PlanID: brokertest.VolumePlan}
	if _, err := h.Provision(ctx, "i1", plan, true); err != nil {
		t.Fatal(err)
	}
	details := domain.BindDetails{ServiceID: brokertest.Volume, PlanID: brokertest.VolumePlan}
	first, err := h.Bind(ctx, "i1", "b1", details, true)
	if err != nil {
		t.Fatal(err)
	}
	var credentials struct{ Username, Password string }
	if err := json.Unmarshal([]byte(parameters(t, first.Credentials)), &credentials); err != nil || credentials.Password == "" {
		t.Fatalf("credentials: %v", err)
	}
	want := []services.VolumeMount{{
		Driver: "memorydriver", ContainerDir: "/var/vcap/data/" + credentials.Username, Mode: "rw", DeviceType: "shared",
		Device: services.VolumeDevice{VolumeID: first.VolumeMounts[0].Device.VolumeID, MountConfig: map[string]any{
			"username": credentials.Username, "password": credentials.Password,
		}},
	}}
	again, err := h.Bind(ctx, "i1", "b1", details, true)
	if err != nil {
		t.Fatal(err)
	}
	fetched, err := h.FetchBinding(ctx, "i1", "b1")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]services.VolumeMount{
		"at first": first.VolumeMounts, "repeated": again.VolumeMounts, "fetched": fetched.VolumeMounts,
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	mounts := credhub.VolumeMountsPath("i1", "b1")
	if _, err := h.Memory.Get(ctx, mounts); err != nil {
		t.Errorf("the credential store: %v", err)
	}
	if _, err := h.Unbind(ctx, "i1", "b1", true); err != nil {
		t.Fatal(err)
	}
	if value, err := h.Memory.Get(ctx, mounts); err == nil {
		t.Errorf("the credential store still holds %d bytes", len(value))
	}
}
