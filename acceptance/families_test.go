package acceptance_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

// offer is a backend's services and plans, as platforms use them.
type offer struct {
	backend string
	service string
	plans   []plan
	dial    services.Dialer
	// reader are the parameters of a read-only binding; nil: the backend has none.
	reader map[string]any
	// mounts says that bindings come with volume mounts.
	mounts bool

	server *rig.Server
	driver *services.Driver // of this process, in addition to the brokers'
	// breaks counts the starts and ends of the server's faults: it is odd during a
	// fault.
	breaks atomic.Int64
}

type plan struct{ id, name string }

// wideCatalog is the shipped catalog of some backends, with the second plans.
func wideCatalog(ctx context.Context, backends []string) ([]byte, error) {
	text, err := rig.ShippedCatalog(backends...)
	if err != nil {
		return nil, err
	}
	for _, backend := range backends {
		config, err := rig.SecondPlan(ctx, backend)
		if err != nil {
			return nil, err
		}
		if text, err = rig.WithSecondPlan(text, backend, config); err != nil {
			return nil, err
		}
	}
	return text, nil
}

// offers reads a deployment's catalog.
func offers(ctx context.Context, d *rig.Deployment) ([]*offer, error) {
	c, err := d.Parsed()
	if err != nil {
		return nil, err
	}
	var all []*offer
	for _, b := range c.Backends() {
		o, err := newOffer(ctx, c, b)
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", b.Name, err)
		}
		at := slices.IndexFunc(d.Servers, func(s *rig.Server) bool { return s.Backend == b.Name })
		o.server = d.Servers[at]
		all = append(all, o)
	}
	return all, nil
}

func newOffer(ctx context.Context, c *catalog.Catalog, b catalog.Backend) (*offer, error) {
	o := &offer{backend: b.Name, dial: b.Definition.Dial, mounts: b.Definition.VolumeMounts}
	for _, p := range c.PlansOf(b.Name) {
		o.service = p.Service.ID
		o.plans = append(o.plans, plan{p.ID, p.Name})
	}
	if len(o.plans) != 2 {
		return nil, fmt.Errorf("it has %d plans, want 2: add testdata/second-plan.yml to its folder", len(o.plans))
	}
	switch keys := services.Keys(b.Definition.Types.Binding); {
	case b.Name == "functions":
		o.reader = map[string]any{"role": "invoke"}
	case b.Name == "trove": // it has no users that only read
	case slices.Contains(keys, "role"):
		o.reader = map[string]any{"role": "read_only"}
	case slices.Contains(keys, "readonly"):
		o.reader = map[string]any{"readonly": true}
	}
	var err error
	o.driver, err = b.Definition.Open(ctx, b.Servers[0].Config)
	return o, err
}

// other returns the offer's other plan.
func (o *offer) other(id string) string {
	if id == o.plans[0].id {
		return o.plans[1].id
	}
	return o.plans[0].id
}

func (o *offer) name(id string) string {
	for _, p := range o.plans {
		if p.id == id {
			return p.name
		}
	}
	return ""
}

// list returns the backend's resources on its server, by safe names.
func (o *offer) list(ctx context.Context) (instances, bindings map[string]bool, err error) {
	if o.driver.List == nil {
		return nil, nil, fmt.Errorf("backend %s does not implement Lister", o.backend)
	}
	found, err := o.driver.List(ctx, services.None{})
	if err != nil {
		return nil, nil, fmt.Errorf("backend %s: %w", o.backend, err)
	}
	instances, bindings = map[string]bool{}, map[string]bool{}
	for _, f := range found {
		if f.Binding != "" {
			bindings[f.Binding] = true
		} else {
			instances[f.Instance] = true
		}
	}
	return instances, bindings, nil
}
