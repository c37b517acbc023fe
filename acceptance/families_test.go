package acceptance_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"

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

// secondPlans adds a second plan to each backend that has only one in the shipped
// catalog, so that instances can change plans.
func secondPlans() map[string]rig.SecondPlan {
	plan := func(of, name string, config map[string]string) rig.SecondPlan {
		return rig.SecondPlan{Of: of, ID: uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String(), Name: name, Config: config}
	}
	return map[string]rig.SecondPlan{
		"mysql":     plan("mysql-small", "mysql-second", map[string]string{"connections_per_binding": "12", "storage": "2GB"}),
		"nats":      plan("nats-small", "nats-second", map[string]string{"connections": "25", "storage": "300MB"}),
		"rabbitmq":  plan("rabbitmq-small", "rabbitmq-second", map[string]string{"connections": "25", "queue_size": "32MB"}),
		"powerdns":  plan("zone", "zone-second", map[string]string{"records": "600"}),
		"s3":        plan("bucket-small", "bucket-second", map[string]string{"storage": "2GB"}),
		"smb":       plan("share-small", "share-second", map[string]string{"storage": "2GB", "connections": "25"}),
		"functions": plan("wasm-small", "wasm-second", map[string]string{"concurrency": "60"}),
	}
}

// wideCatalog is the shipped catalog of some backends, with the second plans.
func wideCatalog(backends []string) ([]byte, error) {
	text, err := rig.ShippedCatalog(backends...)
	if err != nil {
		return nil, err
	}
	for backend, plan := range secondPlans() {
		if !slices.Contains(backends, backend) {
			continue
		}
		if text, err = rig.WithPlan(text, plan); err != nil {
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
		return nil, fmt.Errorf("it has %d plans, want 2: add one to secondPlans", len(o.plans))
	}
	if _, keys := b.Definition.Parameters(); b.Name == "functions" {
		o.reader = map[string]any{"role": "invoke"}
	} else if slices.Contains(keys, "role") {
		o.reader = map[string]any{"role": "read_only"}
	} else if slices.Contains(keys, "readonly") {
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
