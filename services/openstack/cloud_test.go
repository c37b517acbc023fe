package openstack

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestProject(t *testing.T) {
	cloud := newCloud(t)
	c := open(t, cloud.config())
	if err := c.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	p := project(t, c)
	if again, err := c.EnsureProject(testContext(t), p.Instance); err != nil || again != p {
		t.Fatalf("again: %v, %v", again, err)
	}
	readZones(t, c, p)
	for range 2 {
		if err := c.DeleteProject(testContext(t), p); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if _, err := c.FindProject(testContext(t), p.Instance); !errors.Is(err, ErrNoProject) {
		t.Errorf("after deletion: %v", err)
	}
}

// readZones fails t unless the service accepts the project's token.
func readZones(t *testing.T, c *Cloud, p Project) {
	t.Helper()
	if err := tryZones(t, c, p); err != nil {
		t.Fatal(err)
	}
}

func tryZones(t *testing.T, c *Cloud, p Project) error {
	client, err := c.Client(testContext(t), p)
	if err != nil {
		return err
	}
	var zones struct{ Zones []any }
	return Call(testContext(t), client, http.MethodGet, client.Endpoint+"v2/zones", nil, &zones)
}

// eventually fails t unless call succeeds within seconds: after a revocation, Keystone also refuses
// the tokens of the same second.
func eventually(t *testing.T, call func() error) {
	t.Helper()
	err := call()
	for end := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(end); err = call() {
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		t.Error(err)
	}
}

// Somebody disabled the project, or revoked the broker's membership, after the broker had a token.
func TestProjectIsRestored(t *testing.T) {
	cloud := newCloud(t)
	c := open(t, cloud.config())
	p := project(t, c)
	readZones(t, c, p)
	user, _, err := c.domain.identities(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	grant := "projects/" + p.ID + "/users/" + user + "/roles/" + c.config.MemberRoleID
	for name, harm := range map[string]func(){
		"disabled": func() {
			cloud.call(t, http.MethodPatch, "projects/"+p.ID, object("project", map[string]any{"enabled": false}), nil)
		},
		"membership revoked": func() { cloud.call(t, http.MethodDelete, grant, nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			harm()
			session, _ := c.projects.Get(p.ID)
			client, err := session.service(p.ID)
			if err != nil {
				t.Fatal(err)
			}
			// The service refuses the old token, and the attempt to renew it fails. The next
			// call finds out why.
			if err := Call(testContext(t), client, http.MethodGet, client.Endpoint+"v2/zones", nil, nil); err == nil {
				t.Error("the old token works")
			}
			eventually(t, func() error { return tryZones(t, open(t, cloud.config()), p) })
			eventually(t, func() error { return tryZones(t, c, p) })
		})
	}
}

func TestCredential(t *testing.T) {
	c := open(t, newCloud(t).config())
	p := project(t, c)
	binding, key := services.BindingName(p.Instance, "b"), seed(t)
	first, err := c.EnsureCredential(testContext(t), p, binding, key, reading(c))
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.EnsureCredential(testContext(t), p, binding, key, reading(c))
	if err != nil || second.ID != first.ID || second.Secret != first.Secret {
		t.Fatalf("again: %v, %v", second, err)
	}
	if err := c.CheckCredential(testContext(t), p, binding, key); err != nil {
		t.Error(err)
	}
	if err := c.CheckCredential(testContext(t), p, binding, seed(t)); Status(err) != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %v", err)
	}
	if got, err := c.List(testContext(t)); err != nil || !slices.Contains(got, services.Resource{Instance: p.Instance, Name: p.Name}) ||
		!slices.Contains(got, services.Resource{Instance: p.Instance, Binding: binding, Name: c.names.user(p.Instance, binding)}) {
		t.Errorf("listed: %v, %v", got, err)
	}
	for range 2 {
		if err := c.DeleteUser(testContext(t), p.Instance, binding); err != nil {
			t.Error(err)
		}
	}
	if err := c.CheckCredential(testContext(t), p, binding, key); err == nil {
		t.Error("the credential of a deleted user works")
	}
	if _, err := c.EnsureCredential(testContext(t), p, binding, seed(t), reading(c)); err != nil {
		t.Errorf("after deletion, with another seed: %v", err)
	}
}

// An attempt with another seed, or other rules, left its user or credential.
func TestCredentialConverges(t *testing.T) {
	c := open(t, newCloud(t).config())
	p := project(t, c)
	binding, key := services.BindingName(p.Instance, "b"), seed(t)
	first, err := c.EnsureCredential(testContext(t), p, binding, key, reading(c))
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.EnsureCredential(testContext(t), p, binding, key, writing(c))
	if err != nil || other.ID == first.ID {
		t.Fatalf("other rules: %v, %v", other, err)
	}
	reset := seed(t)
	err = servicetest.ToTheEnd(testContext(t), func(ctx context.Context) error {
		_, err := c.EnsureCredential(ctx, p, binding, reset, writing(c))
		return err
	})
	if err != nil {
		t.Fatalf("another seed: %v", err)
	}
	if err := c.CheckCredential(testContext(t), p, binding, reset); err != nil {
		t.Errorf("another seed: %v", err)
	}
}

// The names of projects and users are read back.
func TestNames(t *testing.T) {
	n := names{"c-dns-"}
	instance, binding := services.InstanceName("i"), services.BindingName("i", "b")
	for name, want := range map[string][2]string{
		n.project(instance):       {instance, ""},
		n.user(instance, binding): {instance, binding},
		"c-dns-" + instance[1:]:   {},
		"d-dns-" + instance:       {},
		"c-share-" + instance:     {},
		n.project(instance) + "-": {},
		"c-dns-":                  {},
	} {
		owner, ok := n.instanceOf(name)
		if !ok {
			owner = ""
		}
		_, b, isUser := n.bindingOf(name)
		if isUser {
			owner, _, _ = n.bindingOf(name)
		} else {
			b = ""
		}
		if diff := cmp.Diff(want, [2]string{owner, b}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
