package smb

import (
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/usage"
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

// limits are those of a share's contents.
func (p Plan) limits() usage.Limits { return usage.Limits{Storage: p.Storage, Items: p.Files} }

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.Bindings = 40 }

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.Size("storage", p.Storage, services.Megabyte)
	check.Optional(&f, "files", p.Files, 1_000_000_000)
	check.Optional(&f, "connections", p.Connections, 100_000)
	check.Range(&f, "bindings", p.Bindings, 1, 1000)
	return f.Err()
}
