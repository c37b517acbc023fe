package services

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
)

// Schemas are a backend's JSON schemas (draft-04), written by hand as files. The suite
// compares their properties with the structs.
type Schemas struct {
	// InstanceCreate is for the parameters of provision.
	InstanceCreate []byte
	// InstanceUpdate is for the parameters of update; nil: nothing can be updated.
	InstanceUpdate []byte
	// BindingCreate is for the parameters of bind.
	BindingCreate []byte
	// Actions are the properties of InstanceUpdate that ask for something to be done, instead
	// of describing the instance: the update that names one has it, and the instance does not
	// keep it. Provision has none of them.
	Actions []string
}

// Replaced is a former backend.
type Replaced struct {
	// Name was its Definition's.
	Name string
	// Change tells the operator what else to change in the catalog.
	Change string
}

// Definition describes a backend with its types erased: what the catalog checks and opens,
// and what a client needs to use its credentials.
type Definition struct {
	// Name is the backend's folder below services, such as
	// "database/postgres"; its first part is the family.
	Name    string
	Schemas Schemas
	Client

	// DecodeConfig decodes and checks a backend's configuration, DecodePlan a plan's.
	DecodeConfig func(json.RawMessage) (Config, error)
	DecodePlan   func(json.RawMessage) (Plan, error)
	// Open makes the backend, with around running around each call, the first
	// outermost. No outside call has to succeed: Ready and the operations report a
	// server that does not answer.
	Open func(ctx context.Context, config Config, around ...Around) (*Driver, error)

	// Types are what the configurations and parameters decode into.
	Types Types
	// Streams says that the backend is a Streamer, and HoldsBackups that it is a BackupHolder.
	Streams, HoldsBackups bool
}

// Types are the types of a backend's and a plan's configuration, and of the parameters of
// an instance and a binding. The catalog decodes values without a type by them: a variable
// of the environment becomes a number where the type is one.
type Types struct{ Config, Plan, Instance, Binding reflect.Type }

// Keys returns the JSON keys of a struct's fields.
func Keys(t reflect.Type) []string {
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

// Client is what a Definition offers: plans, and the use of credentials.
type Client struct {
	// Catalog is a catalog.yml with only this backend and its plans. "chandler catalog
	// init" joins those of all backends: services of one id are the same in all of
	// them, except for their plans.
	Catalog []byte
	// Replaces is the backend that this one replaced, if any.
	Replaces Replaced
	// AdministratorSQL returns the statements by which an SQL server's superuser
	// makes the broker's account; nil if the server needs none.
	AdministratorSQL func(name, password string) string
	// CredentialType is the value of "type" in the credentials, such as "postgresql".
	CredentialType string
	// Dial uses credentials as an application would.
	Dial Dialer
	// VolumeMounts says that bindings have volume mounts. Platforms accept them only
	// from a service with "requires: [volume_mount]".
	VolumeMounts bool
	// Active says that instances work without a bound application, so that one that
	// was deleted cannot just be retained.
	Active bool
}

// Dialer opens a session with nothing but what an application is given.
type Dialer func(ctx context.Context, credentials map[string]any) (Session, error)

// Session is an application's use of an instance.
type Session interface {
	// Write stores value under key: a row, a message, a record, an object.
	Write(ctx context.Context, key, value string) error
	// Read returns the value under key, which any session of the instance wrote.
	Read(ctx context.Context, key string) (string, error)
	// Ping makes one round trip on the live session. It fails if the session was cut.
	Ping(ctx context.Context) error
	Close() error
}

// Plan is a plan's configuration, decoded and checked once. All calls share the value, so
// a backend must not change it.
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
		Types:        Types{reflect.TypeFor[C](), reflect.TypeFor[P](), reflect.TypeFor[I](), reflect.TypeFor[B]()},
		Streams:      reflect.TypeFor[T]().Implements(reflect.TypeFor[Streamer[P, I]]()),
		HoldsBackups: reflect.TypeFor[T]().Implements(reflect.TypeFor[BackupHolder[P, I]]()),
	}
}

// ReadSchemas returns the schemas in a backend's folder "schemas":
// instance-create.json, binding-create.json, and instance-update.json if an instance
// can be updated. A missing file is an error of the program.
func ReadSchemas(folder embed.FS) Schemas {
	read := func(name string) []byte {
		text, err := folder.ReadFile("schemas/" + name)
		if err != nil {
			panic(err)
		}
		return text
	}
	s := Schemas{InstanceCreate: read("instance-create.json"), BindingCreate: read("binding-create.json")}
	if _, err := fs.Stat(folder, "schemas/instance-update.json"); err == nil {
		s.InstanceUpdate = read("instance-update.json")
	}
	return s
}
