package broker_test

import (
	"errors"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
)

// What a backend has to tell of an instance is in the metadata; where it cannot
// tell, the rest of the answer is still true.
func TestFetchTellsAttributes(t *testing.T) {
	h := newHarness(t, brokertest.Options{})
	ctx := brokertest.CallerContext()
	_, err := h.Provision(ctx, "i1", domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: brokertest.Small}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		told map[string]any
		err  error
	}{
		{"nothing to tell", nil, nil},
		{"something to tell", map[string]any{"ds": "2371 13 2 1F987CC6"}, nil},
		{"away", nil, errors.New("connection refused")},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.Backend.Attributes(c.told, c.err)
			got, err := h.FetchInstance(ctx, "i1")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.told, got.Metadata.Attributes); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
