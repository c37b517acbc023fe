package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/embedded/openstack"
)

// object is a JSON object.
type object = map[string]any

// bareCloud is the account of an administrator of one domain, who makes the project of each
// instance, and polls what takes time.
type bareCloud struct {
	d *rig.Deployment
	// token is the account's for its domain.
	token, domain, user string
	projects            map[string]*bareProject // by name
}

// bareProject is an instance. id is that of the resource, such as a zone, and binding that of the
// binding's.
type bareProject struct{ project, token, id, binding string }

// errAbsent is the answer 404.
var errAbsent = errors.New("it does not exist")

func newBareCloud(b *testing.B, d *rig.Deployment) *bareCloud {
	b.Helper()
	c := &bareCloud{d: d, projects: map[string]*bareProject{}}
	var err error
	c.token, err = c.login(b.Context(), c.account(), object{"domain": object{"name": c.d.Cloud.Identity.Broker().Domain}})
	check(b, err)
	return c
}

func (c *bareCloud) account() object {
	a := c.d.Cloud.Identity.Broker()
	return object{"name": a.Name, "password": a.Password, "domain": object{"name": a.Domain}}
}

// identity is the URL of a resource of Keystone.
func (c *bareCloud) identity(path string, ids ...any) string {
	return c.d.Value("OPENSTACK_AUTH_URL") + fmt.Sprintf(path, ids...)
}

// call makes a request, and reads the answer.
func (c *bareCloud) call(ctx context.Context, token, method, url string, body, answer any) (http.Header, error) {
	var text []byte
	var err error
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "X-Auth-Token": {token}, "X-Openstack-Manila-Api-Version": {"2.63"}}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode == http.StatusNotFound:
		return nil, errAbsent
	case response.StatusCode > 299:
		return nil, fmt.Errorf("%s %s: %s: %s", method, r.URL.Path, response.Status, text)
	case answer == nil:
		return response.Header, nil
	}
	return response.Header, json.Unmarshal(text, answer)
}

// login returns a token.
func (c *bareCloud) login(ctx context.Context, user, scope object) (string, error) {
	request := object{"identity": object{"methods": []string{"password"}, "password": object{"user": user}}}
	if scope != nil {
		request["scope"] = scope
	}
	var answer struct {
		Token struct {
			User struct {
				ID     string
				Domain struct{ ID string }
			}
		}
	}
	header, err := c.call(ctx, "", http.MethodPost, c.identity("/auth/tokens"), object{"auth": request}, &answer)
	if c.user == "" {
		c.user, c.domain = answer.Token.User.ID, answer.Token.User.Domain.ID
	}
	return header.Get("X-Subject-Token"), err
}

// made is the answer to a create: an object with an ID.
type made map[string]struct{ ID string }

func (m made) id() string {
	for _, resource := range m {
		return resource.ID
	}
	return ""
}

// enter makes a project, and a token for it.
func (c *bareCloud) enter(ctx context.Context, name string) (*bareProject, error) {
	var answer made
	if _, err := c.call(ctx, c.token, http.MethodPost, c.identity("/projects"), object{"project": object{"name": name, "domain_id": c.domain}}, &answer); err != nil {
		return nil, err
	}
	p := &bareProject{project: answer.id()}
	c.projects[name] = p
	err := c.admit(ctx, p, c.user)
	if err == nil {
		p.token, err = c.login(ctx, c.account(), object{"project": object{"id": p.project}})
	}
	return p, err
}

// admit makes a user a member of a project.
func (c *bareCloud) admit(ctx context.Context, p *bareProject, user string) error {
	_, err := c.call(ctx, c.token, http.MethodPut, c.identity("/projects/%s/users/%s/roles/%s", p.project, user, c.d.Value("OPENSTACK_MEMBER_ROLE_ID")), nil, nil)
	return err
}

func (c *bareCloud) leave(ctx context.Context, p *bareProject) error {
	_, err := c.call(ctx, c.token, http.MethodDelete, c.identity("/projects/%s", p.project), nil, nil)
	return err
}

// await polls a resource until one of its fields has a value; "": until it is gone.
func (c *bareCloud) await(ctx context.Context, p *bareProject, url, field, value string) error {
	for {
		var answer object
		_, err := c.call(ctx, p.token, http.MethodGet, url, nil, &answer)
		if errors.Is(err, errAbsent) && value == "" {
			return nil
		}
		if err != nil {
			return err
		}
		for _, inner := range answer { // all APIs but Designate's have the resource in an object
			if inner, ok := inner.(map[string]any); ok && inner[field] != nil {
				maps.Copy(answer, inner)
			}
		}
		if value != "" && answer[field] == value {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// steps are the verbs of a service, whose functions know the instance's project.
func (c *bareCloud) steps(provision, bind, unbind, deprovision func(context.Context, *bareProject, string) error) map[string]func(context.Context, string) error {
	within := func(verb func(context.Context, *bareProject, string) error) func(context.Context, string) error {
		return func(ctx context.Context, name string) error { return verb(ctx, c.projects[name], name) }
	}
	return map[string]func(context.Context, string) error{
		"provision": func(ctx context.Context, name string) error {
			p, err := c.enter(ctx, name)
			if err != nil {
				return err
			}
			return provision(ctx, p, name)
		},
		"bind": within(bind), "unbind": within(unbind),
		"deprovision": func(ctx context.Context, name string) error {
			p := c.projects[name]
			return errors.Join(deprovision(ctx, p, name), c.leave(ctx, p))
		},
	}
}

// make creates a resource in a project, and returns its ID.
func (c *bareCloud) make(ctx context.Context, p *bareProject, url string, body object) (string, error) {
	var answer made
	_, err := c.call(ctx, p.token, http.MethodPost, url, body, &answer)
	return answer.id(), err
}

func bareDesignate(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	c, zones := newBareCloud(b, d), d.Value("DESIGNATE_ENDPOINT")+"/v2/zones"
	return c.steps(func(ctx context.Context, p *bareProject, name string) error {
		var zone struct{ ID string }
		_, err := c.call(ctx, p.token, http.MethodPost, zones, object{"name": name + ".cloud.example.com.", "email": "hostmaster@example.com"}, &zone)
		if p.id = zone.ID; err != nil {
			return err
		}
		return c.await(ctx, p, zones+"/"+p.id, "status", "ACTIVE")
	}, c.bindApplication, c.unbindApplication, func(ctx context.Context, p *bareProject, _ string) error {
		_, err := c.call(ctx, p.token, http.MethodDelete, zones+"/"+p.id, nil, nil)
		return errors.Join(err, c.await(ctx, p, zones+"/"+p.id, "", ""))
	})
}

// bindApplication makes a user in the project, with an application credential for one zone.
func (c *bareCloud) bindApplication(ctx context.Context, p *bareProject, name string) (err error) {
	const password = "a bare password"
	p.binding, err = c.make(ctx, &bareProject{token: c.token}, c.identity("/users"), object{"user": object{"name": name, "password": password, "domain_id": c.domain}})
	if err != nil {
		return err
	}
	if err := c.admit(ctx, p, p.binding); err != nil {
		return err
	}
	token, err := c.login(ctx, object{"id": p.binding, "password": password}, object{"project": object{"id": p.project}})
	if err != nil {
		return err
	}
	rule := object{"service": "dns", "method": "GET", "path": "/v2/zones/" + p.id}
	_, err = c.call(ctx, token, http.MethodPost, c.identity("/users/%s/application_credentials", p.binding), object{"application_credential": object{"name": name, "access_rules": []object{rule}}}, nil)
	return err
}

func (c *bareCloud) unbindApplication(ctx context.Context, p *bareProject, _ string) error {
	_, err := c.call(ctx, c.token, http.MethodDelete, c.identity("/users/%s", p.binding), nil, nil)
	return err
}

func bareManila(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	c, url := newBareCloud(b, d), d.Value("MANILA_ENDPOINT")
	act := func(ctx context.Context, p *bareProject, action object) (string, error) {
		return c.make(ctx, p, url+"/shares/"+p.id+"/action", action)
	}
	return c.steps(func(ctx context.Context, p *bareProject, name string) (err error) {
		p.id, err = c.make(ctx, p, url+"/shares", object{"share": object{"name": name, "share_proto": "CEPHFS", "size": 1, "share_type": openstack.CephFS}})
		if err != nil {
			return err
		}
		return c.await(ctx, p, url+"/shares/"+p.id, "status", "available")
	}, func(ctx context.Context, p *bareProject, name string) (err error) {
		if p.binding, err = act(ctx, p, object{"allow_access": object{"access_type": "cephx", "access_to": name, "access_level": "rw"}}); err != nil {
			return err
		}
		return c.await(ctx, p, url+"/share-access-rules/"+p.binding, "state", "active")
	}, func(ctx context.Context, p *bareProject, _ string) error {
		_, err := c.call(ctx, p.token, http.MethodPost, url+"/shares/"+p.id+"/action", object{"deny_access": object{"access_id": p.binding}}, nil)
		return errors.Join(err, c.await(ctx, p, url+"/share-access-rules/"+p.binding, "", ""))
	}, func(ctx context.Context, p *bareProject, _ string) error {
		_, err := c.call(ctx, p.token, http.MethodDelete, url+"/shares/"+p.id, nil, nil)
		return errors.Join(err, c.await(ctx, p, url+"/shares/"+p.id, "", ""))
	})
}

func bareTrove(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	c := newBareCloud(b, d)
	instances := func(p *bareProject, path string) string {
		return strings.Replace(d.Value("TROVE_ENDPOINT"), "%(project_id)s", p.project, 1) + "/instances" + path
	}
	user := func(name string) string { return name[len(name)-16:] } // more is refused
	return c.steps(func(ctx context.Context, p *bareProject, name string) (err error) {
		const small = "2" // the flavor's ID
		p.id, err = c.make(ctx, p, instances(p, ""), object{"instance": object{
			"name": name, "flavorRef": small, "volume": object{"size": 5}, "databases": []object{{"name": name}},
			"datastore": object{"type": openstack.Datastore, "version": openstack.DatastoreVersion},
		}})
		if err != nil {
			return err
		}
		return c.await(ctx, p, instances(p, "/"+p.id), "status", "ACTIVE")
	}, func(ctx context.Context, p *bareProject, name string) error {
		_, err := c.call(ctx, p.token, http.MethodPost, instances(p, "/"+p.id+"/users"),
			object{"users": []object{{"name": user(name), "password": "a bare password", "databases": []object{{"name": name}}}}}, nil)
		return err
	}, func(ctx context.Context, p *bareProject, name string) error {
		_, err := c.call(ctx, p.token, http.MethodDelete, instances(p, "/"+p.id+"/users/"+user(name)), nil, nil)
		return err
	}, func(ctx context.Context, p *bareProject, _ string) error {
		_, err := c.call(ctx, p.token, http.MethodDelete, instances(p, "/"+p.id), nil, nil)
		return errors.Join(err, c.await(ctx, p, instances(p, "/"+p.id), "", ""))
	})
}

// bareRGW makes a user with a bucket; a binding is another key of the user.
func bareRGW(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	const secret = "a-bare-secret-key"
	endpoint := d.Value("RGW_ENDPOINT")
	steps := api{endpoint, signedS3(d.Value("RGW_ACCESS_KEY_ID"), d.Value("RGW_SECRET_ACCESS_KEY"))}.steps(map[string][]call{
		"provision":   {{"PUT", "/admin/user?access-key=NAME&display-name=NAME&secret-key=" + secret + "&uid=NAME", ""}},
		"bind":        {{"PUT", "/admin/user?access-key=NAME-bound&key=&uid=NAME", ""}},
		"unbind":      {{"DELETE", "/admin/user?access-key=NAME-bound&key=&uid=NAME", ""}},
		"deprovision": {{"DELETE", "/admin/user?uid=NAME", ""}},
	})
	bucket := func(ctx context.Context, method, name string) error {
		return api{endpoint, signedS3(name, secret)}.make(ctx, call{method, "/NAME", ""}, name)
	}
	makeUser, removeUser := steps["provision"], steps["deprovision"]
	steps["provision"] = func(ctx context.Context, name string) error {
		if err := makeUser(ctx, name); err != nil {
			return err
		}
		return bucket(ctx, http.MethodPut, name)
	}
	steps["deprovision"] = func(ctx context.Context, name string) error {
		if err := bucket(ctx, http.MethodDelete, name); err != nil {
			return err
		}
		return removeUser(ctx, name)
	}
	return steps
}
