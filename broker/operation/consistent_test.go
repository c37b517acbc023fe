package operation_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// consistent fails the test unless nothing is in progress, the backend holds
// what the state says and nothing else, every live binding's credentials work,
// and the credential store holds their secrets and no others.
func consistent(t *testing.T, h *brokertest.Harness) {
	t.Helper()
	if n := query[int](t, h, "select count(*) from operations where state = 'in progress'"); n != 0 {
		t.Errorf("%d operations are in progress", n)
	}
	var wantFound, wantPaths []string
	resources := map[string]string{}
	for _, i := range all(t, h, h.Store.ListInstances, store.ListInstancesParams{Batch: 10_000}) {
		if i.Status != store.Ready && i.Status != store.Retained {
			t.Errorf("instance %s is %s", i.ID, i.Status)
		}
		resources[i.ID] = i.ResourceKey()
		wantFound = append(wantFound, services.InstanceName(i.ResourceKey())+"/")
		var parameters struct{ Colour string }
		if err := json.Unmarshal(i.Parameters, &parameters); err != nil {
			t.Fatal(err)
		}
		if colour, _ := h.Backend.Colour(i.ResourceKey()); colour != parameters.Colour {
			t.Errorf("instance %s is %q at the backend, %q in the state", i.ID, colour, parameters.Colour)
		}
	}
	for _, b := range all(t, h, h.Store.ListBindings, store.ListBindingsParams{Batch: 10_000}) {
		if b.Status == store.Expired {
			continue
		}
		if b.Status != store.Ready {
			t.Errorf("binding %s is %s", b.ID, b.Status)
			continue
		}
		wantFound = append(wantFound, services.InstanceName(resources[b.InstanceID])+"/"+services.BindingName(resources[b.InstanceID], b.ID))
		wantPaths = append(wantPaths, credhub.CredentialsPath(b.InstanceID, b.ID).String(), credhub.SeedPath(b.InstanceID, b.ID).String())
		if !h.Backend.Works(credentials(t, h, b.InstanceID, b.ID)) {
			t.Errorf("the credentials of binding %s do not work", b.ID)
		}
	}
	found, err := h.Backend.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var gotFound []string
	for _, f := range found {
		gotFound = append(gotFound, f.Instance+"/"+f.Binding)
	}
	slices.Sort(wantFound)
	slices.Sort(gotFound)
	if diff := cmp.Diff(wantFound, gotFound); diff != "" {
		t.Errorf("the state and the backend (-state +backend):\n%s", diff)
	}
	slices.Sort(wantPaths)
	if diff := cmp.Diff(wantPaths, h.Memory.Paths()); diff != "" && len(wantPaths)+h.Memory.Len() > 0 {
		t.Errorf("live bindings and the secrets stored (-live +stored):\n%s", diff)
	}
}

func all[P, R any](t *testing.T, h *brokertest.Harness, list func(context.Context, store.DBTX, P) ([]R, error), p P) []R {
	t.Helper()
	rows, err := list(context.Background(), h.Store.Pool, p)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
