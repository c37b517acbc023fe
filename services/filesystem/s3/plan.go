package s3

import (
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/services"
)

// Plan is what a plan of this backend says about its buckets.
type Plan struct {
	// Storage is how many bytes a bucket's objects may have together, parts of
	// uploads that are not completed included; 0: without limit.
	Storage services.Size `json:"storage"`
	// Objects is how many objects and uploads that are not completed a bucket
	// may hold; 0: without limit.
	Objects int `json:"objects"`
	// Bindings is how many bindings an instance may have.
	Bindings int `json:"bindings"`
	// DeleteContents lets a bucket that is not empty be deleted, with all its
	// objects. Without it a deletion is refused until the bucket is empty.
	DeleteContents bool `json:"delete_contents"`
}

// limited says whether the contents of buckets have a limit.
func (p Plan) limited() bool { return p.Storage != 0 || p.Objects != 0 }

const (
	defaultBindings = 40
	maxBindings     = 1000
	minStorage      = 1 << 20
	maxObjects      = 1_000_000_000
)

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.Bindings = defaultBindings }

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var faults []error
	if p.Storage != 0 && p.Storage < minStorage {
		faults = append(faults, fmt.Errorf("storage: must be %s, and 1MB at least", services.SizeForm))
	}
	if p.Objects < 0 || p.Objects > maxObjects {
		faults = append(faults, fmt.Errorf("objects: must be from 1 to %d, or left out for no limit", maxObjects))
	}
	if p.Bindings < 1 || p.Bindings > maxBindings {
		faults = append(faults, fmt.Errorf("bindings: must be from 1 to %d", maxBindings))
	}
	return errors.Join(faults...)
}
