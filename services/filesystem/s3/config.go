package s3

import (
	"path/filepath"
	"regexp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/naming"
	"github.com/chandler-broker/chandler/services/usage"
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

var (
	regionRule = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	// ports are the schemes of endpoints with their default ports.
	ports = map[string]uint16{"http": 80, "https": 443}
)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	for _, e := range []struct{ key, text string }{{"endpoint", c.Endpoint}, {"admin_endpoint", c.AdminEndpoint}, {"public_endpoint", c.PublicEndpoint}} {
		if e.text != "" || e.key == "endpoint" {
			_, _, err := endpoint.Parse(e.text, ports)
			f.Key(e.key, err)
		}
	}
	f.If(!regionRule.MatchString(c.Region), "region: must be the gateway's region, such as us-east-1")
	f.If(c.AccessKeyID == "", "access_key_id: is missing: name an account of the gateway that has the role admin")
	f.If(c.SecretAccessKey.IsZero(), "secret_access_key: is missing")
	f.Add(cafile.Check(c.CA, c.CAFile), naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	f.If(c.Folder != "" && !filepath.IsAbs(c.Folder), "folder: must be an absolute path")
	f.If(c.SharedFolder != "" && !filepath.IsAbs(c.SharedFolder), "shared_folder: must be an absolute path")
	return f.Err()
}

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

type instance = services.Instance[Plan, InstanceParams]
