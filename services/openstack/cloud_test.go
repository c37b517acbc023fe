package openstack

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/chandler-broker/chandler/services"
)

func TestLifecycle(t *testing.T) {
	c := testCloud(t).open(t)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := testProject(t, c)
	again, err := c.EnsureProject(t.Context(), p.Instance)
	if err != nil || again.ID != p.ID {
		t.Fatalf("again: %v, %v", again, err)
	}
	client, err := c.Client(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var zones struct{ Zones []any }
	if err := Call(t.Context(), client, http.MethodGet, client.ServiceURL("v2", "zones"), nil, &zones); err != nil || len(zones.Zones) > 0 {
		t.Fatalf("zones: %v, %v", zones, err)
	}
	binding, key := services.BindingName(p.Instance, "b"), seed(t)
	rules := func(path string) func(*gophercloud.ServiceClient) ([]AccessRule, error) {
		return func(*gophercloud.ServiceClient) ([]AccessRule, error) {
			return []AccessRule{c.Rule(http.MethodGet, path)}, nil
		}
	}
	first, err := c.EnsureCredential(t.Context(), p, binding, key, rules("/v2/zones"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.EnsureCredential(t.Context(), p, binding, key, rules("/v2/zones"))
	if err != nil || second.ID != first.ID {
		t.Fatalf("again: %v, %v", second, err)
	}
	if err := c.CheckCredential(t.Context(), p, binding, key); err != nil {
		t.Error(err)
	}
	if err := c.CheckCredential(t.Context(), p, binding, seed(t)); Status(err) != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %v", err)
	}
	listed, err := c.List(t.Context())
	if err != nil || !listedAll(listed, p, binding) {
		t.Errorf("listed: %v, %v", listed, err)
	}
	if err := c.DeleteUser(t.Context(), p.Instance, binding); err != nil {
		t.Error(err)
	}
	if err := c.CheckCredential(t.Context(), p, binding, key); err == nil {
		t.Error("the credential of a deleted user works")
	}
	if _, err := c.EnsureCredential(t.Context(), p, binding, key, rules("/v2/zones")); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := c.DeleteProject(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.FindProject(t.Context(), p.Instance); !errors.Is(err, ErrNoProject) {
		t.Errorf("after deletion: %v", err)
	}
	if listed, err = c.List(t.Context()); err != nil || listedAll(listed, p, "") || listedAll(listed, p, binding) {
		t.Errorf("listed after deletion: %v, %v", listed, err)
	}
}

func listedAll(found []services.Resource, p Project, binding string) bool {
	for _, f := range found {
		if f.Instance == p.Instance && f.Binding == binding {
			return true
		}
	}
	return false
}

// An account with the role admin administers the whole cloud.
func TestAdministratorIsRefused(t *testing.T) {
	cloud := testCloud(t)
	cloud.Username, cloud.Password = "broker", services.NewSecret("brokerpw")
	c := cloud.open(t)
	for name, call := range map[string]func(context.Context) error{
		"Ready":       c.Ready,
		"FindProject": func(ctx context.Context) error { _, err := c.FindProject(ctx, services.InstanceName("x")); return err },
		"List":        func(ctx context.Context) error { _, err := c.List(ctx); return err },
	} {
		for range 2 {
			if err := call(t.Context()); err == nil || !strings.Contains(err.Error(), "role admin on the domain chandler") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestWrongPassword(t *testing.T) {
	cloud := testCloud(t)
	cloud.Password = services.NewSecret("not-this-one")
	err := cloud.open(t).Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "check username, password and domain") {
		t.Error(err)
	}
	for _, hidden := range []string{"not-this-one", "http://"} {
		if err != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("the error contains %q: %v", hidden, err)
		}
	}
}
