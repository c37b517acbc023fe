package s3

import (
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/usage"
)

// Plan is what a plan of this backend says about its buckets.
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

// limits are those of a bucket's contents.
func (p Plan) limits() usage.Limits { return usage.Limits{Storage: p.Storage, Items: p.Objects} }

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

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)
