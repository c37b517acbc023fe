package broker_test

import (
	"encoding/json"
	"strings"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/services"
)

func volumeIn(space, context string) domain.ProvisionDetails {
	return domain.ProvisionDetails{
		ServiceID: brokertest.Volume, PlanID: brokertest.VolumePlan, OrganizationGUID: "org", SpaceGUID: space,
		RawContext: json.RawMessage(context),
	}
}

// An instance uses the directories of its own tenant's instances, and nothing
// tells it what others have.
func TestFoldersOfTheSameTenant(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("mine", volumeIn("space", ""), true).want(t, "201")
	c.provision("next-door", volumeIn("other-space", ""), true).want(t, "201")
	c.provision("cluster", volumeIn("space", `{"platform": "kubernetes", "clusterid": "c", "namespace": "n"}`), true).want(t, "201")
	c.as("k8s").provision("abroad", volumeIn("space", ""), true).want(t, "201")
	c.provision("no-directory", on(brokertest.Small), true).want(t, "201")

	for _, id := range []string{"next-door", "cluster", "abroad", "no-directory", "nothing", "user"} {
		t.Run(id, func(t *testing.T) {
			uses, _ := json.Marshal(map[string]any{"uses": []string{"mine", id}})
			a := c.provision("user", with(on(brokertest.Small), string(uses)), true).want(t, "Invalid")
			want := `parameters: "` + id + `" is no file system instance that is ready in this space; name one by its id, as the platform shows it`
			if a.text() != want {
				t.Errorf("the user is told %q, want %q", a.text(), want)
			}
		})
	}

	want := map[string]string{"mine": "/memory/" + services.InstanceName("mine")}
	c.provision("user", with(on(brokertest.Small), `{"uses": ["mine"]}`), true).want(t, "201")
	if diff := cmp.Diff(want, c.Backend.Directories("user")); diff != "" {
		t.Errorf("provision: -want +got\n%s", diff)
	}
	c.update("user", domain.UpdateDetails{RawParameters: json.RawMessage(`{"uses": []}`)}, true).want(t, "200")
	if got := c.Backend.Directories("user"); len(got) != 0 {
		t.Errorf("after an update that names none: %v", got)
	}
	a := c.update("user", domain.UpdateDetails{RawParameters: json.RawMessage(`{"uses": ["next-door"]}`)}, true).want(t, "Unsupported")
	if !strings.Contains(a.text(), "next-door") {
		t.Errorf("an update that names another's: %q", a.text())
	}
	if got := c.Backend.Directories("user"); len(got) != 0 {
		t.Errorf("after the refused update: %v", got)
	}
}
