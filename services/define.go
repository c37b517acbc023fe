package services

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
)

// Schemas are a backend's JSON schemas (draft-04), written by hand as files.
// The suite checks that their properties are those of the structs.
type Schemas struct {
	// InstanceCreate is for the parameters of provision.
	InstanceCreate []byte
	// InstanceUpdate is for the parameters of update; nil where nothing can
	// be updated.
	InstanceUpdate []byte
	// BindingCreate is for the parameters of bind.
	BindingCreate []byte
}

// Definition describes a backend with its types erased: what the catalog
// checks and opens, and what a client needs to use its credentials.
type Definition struct {
	// Name is the backend's folder below services, such as
	// "database/postgres"; its first part is the family.
	Name string
	// Schemas are as Define was given them.
	Schemas Schemas
	// Catalog is a catalog.yml with this backend and its plans, and no other's:
	// "chandler catalog init" joins those of all backends. Services of one id are
	// the same in all of them, but for their plans.
	Catalog []byte
	// CredentialType is the value of "type" in the credentials, such as
	// "postgresql".
	CredentialType string
	// Dial uses credentials as an application would.
	Dial Dialer
	// VolumeMounts says that bindings come with volume mounts.
	VolumeMounts bool

	// Active says that instances work by themselves.
	Active bool

	// CheckConfig says what is wrong with a backend's configuration, without
	// an outside call.
	CheckConfig func(config json.RawMessage) error
	// CheckPlan says what is wrong with a plan's configuration.
	CheckPlan func(plan json.RawMessage) error
	// Open makes the backend. It makes no outside call that has to succeed:
	// a server that is away shows in Ready and in the operations.
	Open func(ctx context.Context, config json.RawMessage) (Driver, error)

	// properties for the suite: JSON keys of the parameter structs.
	instanceKeys, bindingKeys []string
	config, plan              reflect.Type
}

// ConfigTypes returns the types that the backend's and a plan's configuration
// decode into. The catalog needs them for values that have no type of their own:
// a variable of the environment is a number where a number is asked for.
func (d Definition) ConfigTypes() (config, plan reflect.Type) {
	return d.config, d.plan
}

// Parameters returns the JSON keys of the instance's and of the binding's
// parameter structs, for comparing them with the schemas.
func (d Definition) Parameters() (instance, binding []string) {
	return d.instanceKeys, d.bindingKeys
}

// Client is what a Definition offers: plans, and the use of credentials.
type Client struct {
	// Catalog is a catalog.yml with this backend and its plans.
	Catalog []byte
	// CredentialType is the value of "type" in the credentials.
	CredentialType string
	Dial           Dialer
	// VolumeMounts says that bindings come with volume mounts. The service
	// needs "requires: [volume_mount]" then, without which no platform takes
	// them.
	VolumeMounts bool
	// Active says that instances work by themselves, without an application
	// that is bound to them: one that was deleted cannot just be left there for
	// a time.
	Active bool
}

// Dialer opens a session with nothing but what an application is given.
type Dialer func(ctx context.Context, credentials map[string]any) (Session, error)

// Session is an application's use of an instance.
type Session interface {
	// Write stores value under key: a row, a message, a record, an object.
	Write(ctx context.Context, key, value string) error
	// Read returns what was written under key, by this session or another of
	// the same instance.
	Read(ctx context.Context, key string) (string, error)
	// Ping makes one round trip on the live session and fails once the
	// session was cut.
	Ping(ctx context.Context) error
	Close() error
}

// Define erases the types of a backend, in this one place. C is the backend's
// own configuration; see Backend for the others.
func Define[C, P, I, B any](
	name string, s Schemas, c Client,
	open func(context.Context, C) (Backend[P, I, B], error),
) Definition {
	return Definition{
		Name:           name,
		Schemas:        s,
		Catalog:        c.Catalog,
		CredentialType: c.CredentialType,
		Dial:           c.Dial,
		VolumeMounts:   c.VolumeMounts,
		Active:         c.Active,
		CheckConfig:    func(raw json.RawMessage) error { _, err := Decode[C](raw); return err },
		CheckPlan:      func(raw json.RawMessage) error { _, err := Decode[P](raw); return err },
		Open: func(ctx context.Context, raw json.RawMessage) (Driver, error) {
			config, err := Decode[C](raw)
			if err != nil {
				return nil, fmt.Errorf("configuration of %s: %w", name, err)
			}
			b, err := open(ctx, config)
			if err != nil {
				return nil, fmt.Errorf("open %s: %w", name, err)
			}
			return &driver[P, I, B]{b, c.VolumeMounts}, nil
		},
		instanceKeys: jsonKeys[I](),
		bindingKeys:  jsonKeys[B](),
		config:       reflect.TypeFor[C](),
		plan:         reflect.TypeFor[P](),
	}
}
