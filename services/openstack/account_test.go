package openstack

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/chandler-broker/chandler/services"
)

// everything calls all that a backend may call.
func everything(c *Cloud) map[string]func(context.Context) error {
	instance := services.InstanceName("refused")
	return map[string]func(context.Context) error{
		"Ready":         c.Ready,
		"EnsureProject": func(ctx context.Context) error { _, err := c.EnsureProject(ctx, instance); return err },
		"FindProject":   func(ctx context.Context) error { _, err := c.FindProject(ctx, instance); return err },
		"DeleteProject": func(ctx context.Context) error {
			return c.DeleteProject(ctx, Project{ID: "0123456789abcdef0123456789abcdef", Instance: instance})
		},
		"Client": func(ctx context.Context) error {
			_, err := c.Client(ctx, Project{ID: "0123456789abcdef0123456789abcdef"})
			return err
		},
		"DeleteUser": func(ctx context.Context) error { return c.DeleteUser(ctx, instance, instance) },
		"List":       func(ctx context.Context) error { _, err := c.List(ctx); return err },
	}
}

// An account with the role admin administers the whole cloud, wherever it has the role.
func TestAdministratorIsRefused(t *testing.T) {
	cloud := newCloud(t)
	administrator := cloud.Identity.DomainAdmin()
	config := cloud.config()
	config.Username, config.Password = administrator.Name, services.NewSecret(administrator.Password)
	for name, call := range everything(open(t, config)) {
		for range 2 {
			if err := call(testContext(t)); err == nil || !strings.Contains(err.Error(), "it has the role admin on the domain "+administrator.Domain) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestAdministratorElsewhereIsRefused(t *testing.T) {
	cloud := newCloud(t)
	id, config := cloud.account(t, "elsewhere", "elsewhere-password")
	var own struct{ Projects []entity }
	cloud.call(t, http.MethodGet, "projects?name="+cloud.Identity.Admin().Project+"&domain_id=default", nil, &own)
	admin := "/users/" + id + "/roles/" + cloud.role(t, "admin")
	c := open(t, config)
	for path, want := range map[string]string{
		"projects/" + own.Projects[0].ID: "in the project",
		"system":                         "in the whole system",
		"domains/default":                "on the domain",
	} {
		t.Run(want, func(t *testing.T) {
			if err := c.Ready(testContext(t)); err != nil {
				t.Fatal(err)
			}
			cloud.call(t, http.MethodPut, path+admin, nil, nil)
			if err := open(t, config).Ready(testContext(t)); err == nil || !strings.Contains(err.Error(), "it has the role admin "+want) {
				t.Errorf("a new process: %v", err)
			}
			cloud.call(t, http.MethodDelete, path+admin, nil, nil)
		})
	}
}

// The account gets the role while the broker runs.
func TestAdministratorIsNoticed(t *testing.T) {
	cloud := newCloud(t)
	id, config := cloud.account(t, "promoted", "promoted-password")
	c := open(t, config)
	if err := c.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	cloud.call(t, http.MethodPut, "domains/"+cloud.Identity.DomainID()+"/users/"+id+"/roles/"+cloud.role(t, "admin"), nil, nil)
	for name, call := range everything(c) {
		err := c.Ready(testContext(t)) // which readiness does every few seconds
		if err == nil || !strings.Contains(err.Error(), "it has the role admin") {
			t.Fatalf("Ready: %v", err)
		}
		if err := call(testContext(t)); err == nil || !strings.Contains(err.Error(), "it has the role admin") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The account's password is replaced while the broker has a token.
func TestPasswordReplaced(t *testing.T) {
	cloud := newCloud(t)
	id, config := cloud.account(t, "rotated", "old-password")
	c := open(t, config)
	if _, err := c.List(testContext(t)); err != nil {
		t.Fatal(err)
	}
	cloud.call(t, http.MethodPatch, "users/"+id, object("user", map[string]any{"password": "new-password"}), nil)
	for name, call := range everything(c) {
		err := call(testContext(t))
		if err == nil || !strings.Contains(err.Error(), "check username, password and domain") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, hidden := range []string{"old-password", "new-password", "://"} {
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("%s: the error contains %q: %v", name, hidden, err)
			}
		}
		if _, rejected := services.IsRejected(err); rejected {
			t.Errorf("%s: reported as the user's error: %v", name, err)
		}
	}
	config.Password = services.NewSecret("new-password") // as the catalog's reload does
	eventually(t, func() error { return open(t, config).Ready(testContext(t)) })
}

// The service refuses the account's token at once, and the broker gets another one.
func TestTokenExpired(t *testing.T) {
	cloud := newCloud(t)
	c := open(t, cloud.config())
	p := project(t, c)
	readZones(t, c, p)
	projectSession, _ := c.projects.Get(p.ID)
	for _, s := range []*session{c.domain, projectSession} {
		token := s.provider.Token()
		cloud.admin.MoreHeaders = map[string]string{"X-Subject-Token": token}
		cloud.call(t, http.MethodDelete, "auth/tokens", nil, nil)
		cloud.admin.MoreHeaders = nil
		readZones(t, c, p)
		if _, err := c.List(testContext(t)); err != nil {
			t.Error(err)
		}
	}
	if err := c.Ready(testContext(t)); err != nil {
		t.Error(err)
	}
}

// A binding's credential is restricted: its holder cannot make further ones, break it or take more
// rights.
func TestCredentialIsRestricted(t *testing.T) {
	cloud := newCloud(t)
	c := open(t, cloud.config())
	p := project(t, c)
	binding := services.BindingName(p.Instance, "b")
	credential, err := c.EnsureCredential(testContext(t), p, binding, seed(t), reading(c))
	if err != nil {
		t.Fatal(err)
	}
	s := c.newSession(gophercloud.AuthOptions{ApplicationCredentialID: credential.ID, ApplicationCredentialSecret: credential.Secret.Reveal()}, false)
	keystone, err := s.keystone(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	user, _, err := s.identities(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	own := "users/" + user
	member := c.config.MemberRoleID
	for _, attempt := range []struct {
		name, method, path string
		body               any
	}{
		{"another credential", http.MethodPost, own + "/application_credentials", object("application_credential", map[string]any{"name": "more", "unrestricted": true})},
		{"delete itself", http.MethodDelete, own + "/application_credentials/" + credential.ID, nil},
		{"another password", http.MethodPost, own + "/password", object("user", map[string]any{"password": "mine", "original_password": "x"})},
		{"change the user", http.MethodPatch, own, object("user", map[string]any{"password": "mine"})},
		{"delete the user", http.MethodDelete, own, nil},
		{"leave the project", http.MethodDelete, "projects/" + p.ID + "/users/" + user + "/roles/" + member, nil},
		{"be admin", http.MethodPut, "projects/" + p.ID + "/users/" + user + "/roles/" + cloud.role(t, "admin"), nil},
		{"delete the project", http.MethodDelete, "projects/" + p.ID, nil},
		{"a trust", http.MethodPost, "OS-TRUST/trusts", object("trust", map[string]any{"trustor_user_id": user, "trustee_user_id": user, "impersonation": true, "project_id": p.ID, "roles": []any{map[string]any{"id": member}}})},
		{"an EC2 credential", http.MethodPost, own + "/credentials/OS-EC2", map[string]any{"tenant_id": p.ID}},
		{"a credential", http.MethodPost, "credentials", object("credential", map[string]any{"type": "ec2", "blob": "{}", "user_id": user, "project_id": p.ID})},
		{"list users", http.MethodGet, "users", nil},
		{"list projects", http.MethodGet, "projects", nil},
		{"a token without the rules", http.MethodPost, "auth/tokens", map[string]any{"auth": map[string]any{
			"identity": map[string]any{"methods": []string{"token"}, "token": map[string]any{"id": s.provider.Token()}},
			"scope":    map[string]any{"project": map[string]any{"id": p.ID}},
		}}},
	} {
		if err := Call(testContext(t), keystone, attempt.method, keystone.Endpoint+attempt.path, attempt.body, nil); err == nil {
			t.Errorf("%s: not refused", attempt.name)
		}
	}
	if err := s.verify(testContext(t)); err != nil {
		t.Errorf("the credential is broken: %v", err)
	}
}
