package rgw

import (
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/naming"
)

// Config is the backend's own configuration: one gateway, or several of one zone behind an address.
type Config struct {
	// Endpoint is the URL of the gateway, for its administration and the broker's use of S3.
	Endpoint string `json:"endpoint"`
	// PublicEndpoint is what applications are told; default: Endpoint.
	PublicEndpoint string `json:"public_endpoint"`
	// Region is what requests are signed for.
	Region string `json:"region"`
	// AccessKeyID and SecretAccessKey are a key of a user with the capabilities in README.md.
	AccessKeyID     string          `json:"access_key_id"`
	SecretAccessKey services.Secret `json:"secret_access_key"`
	// CA or CAFile has the certificates of the gateway's authority, for applications too.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the name of everything made on the gateway.
	Prefix string `json:"prefix"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Region = "us-east-1"
	c.Prefix = "c"
}

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	for _, e := range []struct{ key, text string }{{"endpoint", c.Endpoint}, {"public_endpoint", c.PublicEndpoint}} {
		if e.text != "" || e.key == "endpoint" {
			_, _, err := endpoint.Parse(e.text, objectstore.Ports())
			f.Key(e.key, err)
		}
	}
	f.If(!objectstore.IsRegion(c.Region), "region: must be the gateway's region, such as us-east-1")
	f.If(c.AccessKeyID == "", "access_key_id: is missing: name an access key of the broker's user on the gateway")
	f.If(c.SecretAccessKey.IsZero(), "secret_access_key: is missing")
	f.Add(cafile.Check(c.CA, c.CAFile), naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	return f.Err()
}

type (
	// Plan is what a plan of this backend says about its buckets.
	Plan = objectstore.Plan
	// InstanceParams are the user's parameters of an instance.
	InstanceParams = objectstore.InstanceParams
	// BindingParams are the user's parameters of a binding.
	BindingParams = objectstore.BindingParams

	instance = objectstore.Instance
)
