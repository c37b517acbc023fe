package s3

import (
	"path/filepath"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/naming"
)

// Config is the backend's own configuration: one gateway.
type Config struct {
	// Endpoint is the URL of the gateway's S3 API.
	Endpoint string `json:"endpoint"`
	// AdminEndpoint is the URL of its administration; default: Endpoint.
	AdminEndpoint string `json:"admin_endpoint"`
	// PublicEndpoint is what applications are told; default: Endpoint.
	PublicEndpoint string `json:"public_endpoint"`
	// Region is what requests are signed for.
	Region string `json:"region"`
	// AccessKeyID and SecretAccessKey are an account with the role admin, or the root account.
	AccessKeyID     string          `json:"access_key_id"`
	SecretAccessKey services.Secret `json:"secret_access_key"`
	// CA or CAFile has the certificates of the gateway's authority, for applications too.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the name of everything made on the gateway.
	Prefix string `json:"prefix"`
	// Folder is the gateway's folder of buckets on this machine if it is on btrfs, which
	// makes the limit of storage a hard one.
	Folder string `json:"folder"`
	// SharedFolder is the gateway's folder of buckets on this machine, on any file system,
	// for services that use the files of buckets; default: Folder.
	SharedFolder string `json:"shared_folder"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Region = "us-east-1"
	c.Prefix = "c"
}

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	for _, e := range []struct{ key, text string }{{"endpoint", c.Endpoint}, {"admin_endpoint", c.AdminEndpoint}, {"public_endpoint", c.PublicEndpoint}} {
		if e.text != "" || e.key == "endpoint" {
			_, _, err := endpoint.Parse(e.text, objectstore.Ports())
			f.Key(e.key, err)
		}
	}
	f.If(!objectstore.IsRegion(c.Region), "region: must be the gateway's region, such as us-east-1")
	f.If(c.AccessKeyID == "", "access_key_id: is missing: name an account of the gateway that has the role admin")
	f.If(c.SecretAccessKey.IsZero(), "secret_access_key: is missing")
	f.Add(cafile.Check(c.CA, c.CAFile), naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	f.If(c.Folder != "" && !filepath.IsAbs(c.Folder), "folder: must be an absolute path")
	f.If(c.SharedFolder != "" && !filepath.IsAbs(c.SharedFolder), "shared_folder: must be an absolute path")
	return f.Err()
}

// Plan is what a plan of this backend says about its buckets.
type Plan struct {
	objectstore.Plan
	// Snapshots is how many snapshots an instance may have. They need btrfs.
	Snapshots int `json:"snapshots"`
}

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.Add(p.Plan.Validate())
	check.Optional(&f, "snapshots", p.Snapshots, btrfs.MaxSnapshots)
	return f.Err()
}

type (
	// InstanceParams are the user's parameters of an update; a bucket keeps none.
	InstanceParams = btrfs.Params
	// BindingParams are the user's parameters of a binding.
	BindingParams = objectstore.BindingParams

	instance = services.Instance[Plan, InstanceParams]
)
