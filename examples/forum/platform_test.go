package forum_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// platform behaves as platforms do: it makes and binds services through any
// replica of the broker, repeats what got no answer, and hands an application its
// credentials as files.
type platform struct {
	clients []*osbclient.Client
	catalog osbclient.Catalog
	secrets *rig.Ledger
	// root is the application's SERVICE_BINDING_ROOT.
	root string
}

func newPlatform(ctx context.Context, d *rig.Deployment, root string, brokers ...*rig.Broker) (*platform, error) {
	p := &platform{secrets: &d.Secrets, root: root}
	for _, b := range brokers {
		c, err := b.Client(osbclient.Options{})
		if err != nil {
			return nil, err
		}
		p.clients = append(p.clients, c)
	}
	var err error
	p.catalog, err = p.clients[0].Catalog(ctx)
	return p, errors.Join(err, os.MkdirAll(root, 0o700))
}

// service is one instance with its binding.
type service struct {
	// name is what the platform calls the binding.
	name           string
	id             string
	offering, plan string // IDs
	binding        string
	credentials    map[string]any
	formerBinding  string
	formerKeys     map[string]any
}

// find returns a service of a plan of the catalog, which is not made yet.
func (p *platform) find(name, offering, plan string) (*service, error) {
	for _, s := range p.catalog.Services {
		for _, candidate := range s.Plans {
			if s.Name == offering && candidate.Name == plan {
				return &service{name: name, id: uuid.NewString(), offering: s.ID, plan: candidate.ID}, nil
			}
		}
	}
	return nil, fmt.Errorf("the catalog has no plan %s of service %s", plan, offering)
}

// ask asks one replica after another until one has done it; absent is a success
// where it may be.
func (p *platform) ask(ctx context.Context, what string, mayBeAbsent bool, request func(*osbclient.Client) (osbclient.Response, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var last error
	for n := 0; ; n++ {
		answer, err := request(p.clients[n%len(p.clients)])
		refused, told := errors.AsType[*osbclient.Error](err)
		switch {
		case err == nil && answer.Status != http.StatusAccepted,
			mayBeAbsent && answer.Status == http.StatusGone:
			return nil
		case told && answer.Status < 500 && refused.Code != "ConcurrencyError":
			return fmt.Errorf("%s: %w", what, err)
		}
		last = errors.Join(fmt.Errorf("answer %d", answer.Status), err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w, after %w", what, context.Cause(ctx), last)
		}
	}
}

const organization, space = "harbour", "quay"

func (p *platform) provision(ctx context.Context, s *service, parameters map[string]any) error {
	return p.ask(ctx, "provision the "+s.name, false, func(c *osbclient.Client) (osbclient.Response, error) {
		made, err := c.Provision(ctx, s.id, osbclient.ProvisionRequest{
			ServiceID: s.offering, PlanID: s.plan, OrganizationGUID: organization, SpaceGUID: space, Parameters: parameters,
		})
		return made.Response, err
	})
}

// bind gives the application credentials. Where it has some already, the new
// binding is the successor of theirs, which goes on to work until retire.
func (p *platform) bind(ctx context.Context, s *service) error {
	s.formerBinding, s.formerKeys = s.binding, s.credentials
	s.binding = uuid.NewString()
	request := osbclient.BindRequest{ServiceID: s.offering, PlanID: s.plan, PredecessorBindingID: s.formerBinding}
	err := p.ask(ctx, "bind the "+s.name, false, func(c *osbclient.Client) (osbclient.Response, error) {
		made, err := c.Bind(ctx, s.id, s.binding, request)
		s.credentials = made.Credentials
		return made.Response, err
	})
	if err != nil {
		return err
	}
	if err := p.secrets.AddCredentials("the "+s.name+"'s binding "+s.binding, s.credentials); err != nil {
		return err
	}
	return p.project(s)
}

// project writes the credentials as Kubernetes mounts a Secret: into a new folder,
// to which a link leads that is replaced at once.
func (p *platform) project(s *service) error {
	version, err := os.MkdirTemp(filepath.Dir(p.root), s.name+"-")
	if err != nil {
		return err
	}
	for key, value := range s.credentials {
		text, ok := value.(string)
		if !ok {
			encoded, err := json.Marshal(value)
			if err != nil {
				return err
			}
			text = string(encoded)
		}
		if err := os.WriteFile(filepath.Join(version, key), []byte(text), 0o600); err != nil {
			return err
		}
	}
	link := filepath.Join(p.root, s.name)
	former, _ := os.Readlink(link) // "" before the first
	err = errors.Join(os.Symlink(version, link+".next"), os.Rename(link+".next", link))
	if former != "" {
		err = errors.Join(err, os.RemoveAll(former))
	}
	return err
}

// retire removes the binding that was replaced.
func (p *platform) retire(ctx context.Context, s *service) error {
	return p.unbind(ctx, s, s.formerBinding)
}

func (p *platform) unbind(ctx context.Context, s *service, binding string) error {
	return p.ask(ctx, "unbind the "+s.name, true, func(c *osbclient.Client) (osbclient.Response, error) {
		gone, err := c.Unbind(ctx, s.id, binding, osbclient.DeleteRequest{ServiceID: s.offering, PlanID: s.plan})
		return gone.Response, err
	})
}

func (p *platform) deprovision(ctx context.Context, s *service) error {
	return p.ask(ctx, "deprovision the "+s.name, true, func(c *osbclient.Client) (osbclient.Response, error) {
		gone, err := c.Deprovision(ctx, s.id, osbclient.DeleteRequest{ServiceID: s.offering, PlanID: s.plan})
		return gone.Response, err
	})
}
