package main

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// smokeClone is a copy of the instance, which proves backups and restores of its plan. Its backup
// goes with it.
type smokeClone struct {
	instance string
	binding  smokeBinding
}

func newSmokeClone() smokeClone {
	return smokeClone{instance: uuid.NewString(), binding: smokeBinding{id: uuid.NewString()}}
}

// hasBackups says whether instances of the plan can be cloned.
func (r *smokeRun) hasBackups() bool {
	var schemas struct {
		Instance struct {
			Create struct {
				Parameters struct {
					Properties map[string]json.RawMessage `json:"properties"`
				} `json:"parameters"`
			} `json:"create"`
		} `json:"service_instance"`
	}
	_ = json.Unmarshal(r.plan.Schemas, &schemas) // a broker without schemas has no backups
	_, ok := schemas.Instance.Create.Parameters.Properties[catalog.CloneOf]
	return ok
}

func (r *smokeRun) cloneSteps() []namedStep {
	if !r.hasBackups() {
		return nil
	}
	return []namedStep{
		{"back up, restore as a clone", r.makeClone},
		{"read the clone's data", r.readClone},
		{"remove the clone", r.removeClone},
	}
}

func (r *smokeRun) makeClone(ctx context.Context) error {
	c, err := r.client.Provision(ctx, r.clone.instance, osbclient.ProvisionRequest{
		ServiceID: r.service.ID, PlanID: r.plan.ID, OrganizationGUID: "smoke", SpaceGUID: "smoke",
		Parameters: map[string]any{catalog.CloneOf: r.instance}, AcceptsIncomplete: true,
	})
	return r.complete(ctx, r.clone.instance, c, err)
}

// emptyCopies is the type of the credentials of RabbitMQ, whose copies contain no messages.
const emptyCopies = "rabbitmq"

func (r *smokeRun) readClone(ctx context.Context) error {
	b := &r.clone.binding
	if err := r.bind(ctx, r.clone.instance, b); err != nil {
		return err
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	defer b.close()
	if b.credentials["type"] == emptyCopies {
		return r.write(ctx, b.session, r.key)
	}
	return r.read(ctx, b.session)
}

func (r *smokeRun) removeClone(ctx context.Context) error {
	if err := r.unbind(ctx, r.clone.instance, r.clone.binding.id); err != nil {
		return err
	}
	return r.deprovision(ctx, r.clone.instance)
}
