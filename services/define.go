package services

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
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

// Replaced is a former backend.
type Replaced struct {
	// Name was its Definition's.
	Name string
	// Change tells the operator what else to change in the catalog.
	Change string
}

// Definition describes a backend with its types erased: what the catalog
// checks and opens, and what a client needs to use its credentials.
type Definition struct {
	// Name is the backend's folder below services, such as
	// "database/postgres"; its first part is the family.
	Name string
	// Schemas are as Define was given them.
	Schemas Schemas
	Client

	// DecodeConfig decodes and checks a backend's configuration, DecodePlan a plan's.
	DecodeConfig func(json.RawMessage) (Config, error)
	DecodePlan   func(json.RawMessage) (Plan, error)
	// Open makes the backend, with around running around each call, the first
	// outermost. It makes no outside call that has to succeed: a server that does
	// not answer shows in Ready and in the operations.
	Open func(ctx context.Context, config Config, around ...Around) (*Driver, error)

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
	// Catalog is a catalog.yml with this backend and its plans, and no other's:
	// "chandler catalog init" joins those of all backends. Services of one id are
	// the same in all of them, except for their plans.
	Catalog []byte
	// Replaces is the backend that this one took the place of, if any.
	Replaces Replaced
	// AdministratorSQL returns the statements by which an SQL server's superuser
	// makes the broker's account; nil where the server needs none.
	AdministratorSQL func(name, password string) string
	// CredentialType is the value of "type" in the credentials, such as
	// "postgresql".
	CredentialType string
	// Dial uses credentials as an application would.
	Dial Dialer
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

// Plan is a plan's configuration, decoded and checked once. All calls share the value,
// which a backend must not change.
type Plan struct{ decoded }

// Config is a backend's configuration, decoded and checked.
type Config struct{ decoded }

type decoded struct {
	json  json.RawMessage
	value any
}

// JSON returns the configuration as it was given. It may hold secrets.
func (d decoded) JSON() json.RawMessage { return d.json }

// Format redacts the configuration in every verb of package fmt.
func (decoded) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// Define erases the types of a backend, in this one place. C is the backend's own
// configuration and T the backend; see Backend for the others.
func Define[C any, T Backend[P, I, B], P, I, B any](
	name string, s Schemas, c Client,
	open func(context.Context, C) (T, error),
) Definition {
	return Definition{
		Name:    name,
		Schemas: s,
		Client:  c,
		DecodeConfig: func(raw json.RawMessage) (Config, error) {
			value, err := Decode[C](raw)
			return Config{decoded{raw, value}}, err
		},
		DecodePlan: func(raw json.RawMessage) (Plan, error) {
			value, err := Decode[P](raw)
			return Plan{decoded{raw, value}}, err
		},
		Open: func(ctx context.Context, config Config, around ...Around) (*Driver, error) {
			value, ok := config.value.(C)
			if !ok {
				return nil, fmt.Errorf("open %s: the configuration is not one of this backend", name)
			}
			b, err := open(ctx, value)
			if err != nil {
				return nil, fmt.Errorf("open %s: %w", name, err)
			}
			return newDriver[P, I, B](&connection{around: around, current: &lease{backend: b}}, c.VolumeMounts), nil
		},
		instanceKeys: jsonKeys[I](),
		bindingKeys:  jsonKeys[B](),
		config:       reflect.TypeFor[C](),
		plan:         reflect.TypeFor[P](),
	}
}

// jsonKeys returns the JSON names of T's fields.
func jsonKeys[T any]() []string {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			keys = append(keys, name)
		}
	}
	return keys
}
