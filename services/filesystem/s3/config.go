package s3

import (
	"errors"
	"net/url"
	"path/filepath"
	"regexp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Config is the backend's own configuration: one gateway.
type Config struct {
	// Endpoint is the URL of the gateway's S3 API.
	Endpoint string `json:"endpoint"`
	// AdminEndpoint is the URL of its administration, where that has a port
	// of its own; default: Endpoint.
	AdminEndpoint string `json:"admin_endpoint"`
	// PublicEndpoint is what applications are told; default: Endpoint.
	PublicEndpoint string `json:"public_endpoint"`
	// Region is what requests are signed for.
	Region string `json:"region"`
	// AccessKeyID and SecretAccessKey are an account of the gateway that has
	// the role admin, or its root account.
	AccessKeyID     string          `json:"access_key_id"`
	SecretAccessKey services.Secret `json:"secret_access_key"`
	// CA or CAFile is the PEM of the authority that signed the gateway's
	// certificate, handed out with the credentials.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the name of everything made on the gateway.
	Prefix string `json:"prefix"`
	// Folder is where this machine has the gateway's folder of buckets. It is
	// said where that is on btrfs, and makes the limit of storage a hard one.
	Folder string `json:"folder"`
	// SharedFolder is where this machine has the gateway's folder of buckets,
	// on whatever file system, for instances of other services that use the
	// files of buckets; default: Folder.
	SharedFolder string `json:"shared_folder"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Region = "us-east-1"
	c.Prefix = "c"
}

var (
	prefixRule = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)
	regionRule = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var faults []error
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New(text))
		}
	}
	endpoint := func(key, value string) {
		_, err := parseEndpoint(value)
		fault(err != nil, key+": must be http://host:port or https://host:port")
	}
	endpoint("endpoint", c.Endpoint)
	if c.AdminEndpoint != "" {
		endpoint("admin_endpoint", c.AdminEndpoint)
	}
	if c.PublicEndpoint != "" {
		endpoint("public_endpoint", c.PublicEndpoint)
	}
	fault(!regionRule.MatchString(c.Region), "region: must be the gateway's region, such as us-east-1")
	fault(c.AccessKeyID == "", "access_key_id: is missing: name an account of the gateway that has the role admin")
	fault(c.SecretAccessKey.IsZero(), "secret_access_key: is missing")
	faults = append(faults, cafile.Check(c.CA, c.CAFile))
	fault(!prefixRule.MatchString(c.Prefix), "prefix: must be 1 to 8 characters of a-z and 0-9 and begin with a letter")
	fault(c.Folder != "" && !filepath.IsAbs(c.Folder), "folder: must be an absolute path")
	fault(c.SharedFolder != "" && !filepath.IsAbs(c.SharedFolder), "shared_folder: must be an absolute path")
	return errors.Join(faults...)
}

// parseEndpoint reads an endpoint. It has no path: buckets are paths.
func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("is no endpoint")
	}
	u.Path = ""
	return u, nil
}
