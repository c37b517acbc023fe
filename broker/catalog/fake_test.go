package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/chandler-broker/chandler/services"
)

// The fake backend has the shape of a real one and makes nothing.
type (
	fakeConfig struct {
		URL     services.Secret `json:"url"`
		Address string          `json:"address"`
		Port    uint16          `json:"port"`
		TLS     *bool           `json:"tls"`
		Labels  map[string]int  `json:"labels"`
		Nested  struct {
			Words  []string `json:"words"`
			Limits []int    `json:"limits"`
		} `json:"nested"`
	}
	fakePlan struct {
		Connections           int      `json:"connections"`
		ConnectionsPerBinding int      `json:"connections_per_binding"`
		Storage               string   `json:"storage"`
		StatementTimeout      string   `json:"statement_timeout"`
		TempFileLimit         string   `json:"temp_file_limit"`
		Extensions            []string `json:"extensions"`
		Spares                int      `json:"spares"`
	}
	fakeParams  struct{}
	fakeBackend struct {
		services.Backend[fakePlan, fakeParams, fakeParams]
	}
)

func (c *fakeConfig) Validate() error {
	var faults []error
	if c.URL.IsZero() {
		faults = append(faults, errors.New("url: is missing; say how the server is reached"))
	}
	if c.Address != "" {
		if _, err := url.Parse(c.Address); err != nil { // quotes what it stumbles over, as careless backends do
			faults = append(faults, fmt.Errorf("address: %w", err))
		}
	}
	for _, word := range c.Nested.Words {
		if word == "bad" {
			faults = append(faults, errors.New("nested.words[1]: is a bad word"))
		}
	}
	return errors.Join(faults...)
}

func (p *fakePlan) Validate() error {
	var faults []error
	if p.Connections < 0 {
		faults = append(faults, errors.New("connections: must be at least 0"))
	}
	if p.Spares > 100 {
		faults = append(faults, errors.New("spares: must be at most 100"))
	}
	return errors.Join(faults...)
}

const (
	createSchema = `{
		"$schema": "http://json-schema.org/draft-04/schema#",
		"type": "object",
		"additionalProperties": false,
		"required": ["name"],
		"definitions": {"word": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"}},
		"properties": {
			"name": {"$ref": "#/definitions/word"},
			"size": {"type": "integer", "minimum": 1, "maximum": 64, "multipleOf": 2},
			"ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 0.5, "exclusiveMaximum": true},
			"words": {"type": "array", "items": {"$ref": "#/definitions/word"}, "minItems": 1, "maxItems": 3, "uniqueItems": true},
			"pair": {"type": "array", "items": [{"type": "string"}, {"type": "string"}], "additionalItems": false},
			"network": {
				"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 2,
				"properties": {"host": {"type": "string", "format": "ipv4"}, "port": {"type": ["integer", "null"]}, "tls": {"type": "boolean"}},
				"dependencies": {"port": ["host"]}
			},
			"empty": {"type": "object", "additionalProperties": false},
			"form": {"anyOf": [{"type": "boolean"}, {"enum": ["a", "b"]}]},
			"only": {"oneOf": [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 2}]},
			"free": {"not": {"enum": [1]}},
			"all": {"allOf": [{"type": "string"}, {"maxLength": 1}]}
		}
	}`
	bindSchema = `{
		"$schema": "http://json-schema.org/draft-04/schema#",
		"type": "object",
		"additionalProperties": false,
		"properties": {"role": {"type": "string", "enum": ["read_write", "read_only"]}}
	}`
)

// define makes a definition of the fake backend.
func define(name string, s services.Schemas) services.Definition {
	return services.Define(name, s, services.Client{CredentialType: "fake"},
		func(context.Context, fakeConfig) (services.Backend[fakePlan, fakeParams, fakeParams], error) {
			return fakeBackend{}, nil
		})
}

// definitions are the backends that the tests' files may name.
func definitions() []services.Definition {
	fake := define("database/fake", services.Schemas{InstanceCreate: []byte(createSchema), BindingCreate: []byte(bindSchema)})
	fake.Streams = true
	// The shipped file names this one; its own package tests its schemas.
	postgres := define("database/postgres", services.Schemas{BindingCreate: []byte(bindSchema)})
	postgres.Streams = true
	return []services.Definition{fake, define("queue/plain", services.Schemas{}), volumes(), postgres}
}

// volumes is a backend whose bindings come with volume mounts, and whose
// instances work by themselves.
func volumes() services.Definition {
	d := define("filesystem/volumes", services.Schemas{})
	d.VolumeMounts, d.Active = true, true
	d.Replaces = services.Replaced{Name: "filesystem/folders", Change: "url replaces folder in its config"}
	return d
}

// environment are the variables that the tests' files may name.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"POSTGRES_ADMIN_URL": "postgres://admin:hunter2hunter2@db:5432/postgres",
		"PORT":               "5432",
		"TLS":                "true",
		"PASSWORD":           "correct horse: battery # staple ${PORT}",
		"INJECTION":          "x\nbindable: no\nname: &a {b}",
		"DIGITS":             "1234567890",
		"SHORT":              "tiny$%",
		"EMPTY":              "",
		"BINARY":             "\xff\xfe",
		"PRICE":              "9.5",
		"BROKEN_URL":         "postgres://admin:pa/ssw0rd%zz@db",
		"SECRET_NAME":        "zebra giraffe",
	}[name]
	return value, ok
}
