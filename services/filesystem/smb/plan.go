package smb

import (
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/services"
)

// Plan is what a plan of this backend says about its shares.
type Plan struct {
	// Storage is how many bytes a share's files may take on the disk together;
	// 0: without limit.
	Storage services.Size `json:"storage"`
	// Files is how many files and folders a share may hold; 0: without limit.
	Files int `json:"files"`
	// Connections is how many clients may use a share at a time; 0: without
	// limit.
	Connections int `json:"connections"`
	// Bindings is how many bindings an instance may have.
	Bindings int `json:"bindings"`
	// DeleteContents lets a share that is not empty be deleted, with all its
	// files. Without it a deletion is refused until the share is empty.
	DeleteContents bool `json:"delete_contents"`
}

const (
	defaultBindings = 40
	maxBindings     = 1000
	minStorage      = 1 << 20
	maxFiles        = 1_000_000_000
	maxConnections  = 100_000
)

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.Bindings = defaultBindings }

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var faults []error
	if p.Storage != 0 && p.Storage < minStorage {
		faults = append(faults, errors.New("storage: must be "+services.SizeForm+", and 1MB at least"))
	}
	if p.Files < 0 || p.Files > maxFiles {
		faults = append(faults, fmt.Errorf("files: must be from 1 to %d, or left out for no limit", maxFiles))
	}
	if p.Connections < 0 || p.Connections > maxConnections {
		faults = append(faults, fmt.Errorf("connections: must be from 1 to %d, or left out for no limit", maxConnections))
	}
	if p.Bindings < 1 || p.Bindings > maxBindings {
		faults = append(faults, fmt.Errorf("bindings: must be from 1 to %d", maxBindings))
	}
	return errors.Join(faults...)
}
