package objectstore

import (
	"embed"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/usage"
)

// Plan is what a plan says about its buckets.
type Plan struct {
	// Storage is how many bytes objects and parts of uploads may have; 0: without limit.
	Storage services.Size `json:"storage"`
	// Objects is how many objects and unfinished uploads there may be; 0: without limit.
	Objects int `json:"objects"`
	// Bindings is how many bindings an instance may have.
	Bindings int `json:"bindings"`
	// DeleteContents allows deleting a bucket that is not empty.
	DeleteContents bool `json:"delete_contents"`
}

// Limits are those of a bucket's contents.
func (p Plan) Limits() usage.Limits { return usage.Limits{Storage: p.Storage, Items: p.Objects} }

// CheckBindings refuses one more binding than the plan allows, beside the others.
func (p Plan) CheckBindings(others int) error {
	if others < p.Bindings {
		return nil
	}
	return services.Rejected("this instance has %d bindings, and its plan allows %d: remove one, or choose a larger plan", others, p.Bindings)
}

// NotEmpty refuses the deletion of a bucket whose contents the plan protects.
func NotEmpty(bucket string) error {
	return services.Rejected("bucket %s is not empty, and this plan keeps what is in it: copy what you need, delete all objects, and delete the instance again", bucket)
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.Bindings = 40 }

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.Size("storage", p.Storage, services.Megabyte)
	check.Optional(&f, "objects", p.Objects, 1_000_000_000)
	check.Range(&f, "bindings", p.Bindings, 1, 1000)
	return f.Err()
}

// InstanceParams are the user's parameters of an instance: a bucket has none.
type InstanceParams struct{}

// BindingParams are the user's parameters of a binding.
type BindingParams = access.Params

// Instance is an instance of these backends.
type Instance = services.Instance[Plan, InstanceParams]

//go:embed schemas
var schemas embed.FS

// Schemas are the schemas of the parameters.
func Schemas() services.Schemas { return services.ReadSchemas(schemas) }
