package openwhisk

import (
	"fmt"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// Config is the backend's own configuration: the runtimes of one database.
type Config struct {
	// AdminURL is the runtimes' administration API: one URL, or several separated by commas.
	AdminURL string `json:"admin_url"`
	// Token is one of the runtimes' FUNCTIONS_ADMIN_TOKEN.
	Token services.Secret `json:"token"`
	// CertificateFile and KeyFile are a client certificate that the runtimes accept.
	CertificateFile string `json:"certificate_file"`
	KeyFile         string `json:"key_file"`
	// AdminCAFile is the PEM of the authority that signed the certificate at
	// AdminURL; default: CA.
	AdminCAFile string `json:"admin_ca_file"`
	// APIHost is the URL of the runtimes for applications, without a path.
	APIHost string `json:"api_host"`
	// CA or CAFile is the PEM of the authority that signed the certificate at
	// APIHost, handed out with the credentials.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
}

// ports are the schemes of URLs with their default ports.
var ports = map[string]uint16{"http": 80, "https": 443}

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	_, err := readURLs(c.AdminURL)
	f.Key("admin_url", err)
	f.If(c.Token.IsZero() && c.CertificateFile == "",
		"token: is missing; give one of the runtimes' FUNCTIONS_ADMIN_TOKEN, or a client certificate (certificate_file, key_file)")
	f.If((c.CertificateFile == "") != (c.KeyFile == ""), "key_file: must be given together with certificate_file")
	_, _, err = endpoint.Parse(c.APIHost, ports)
	f.Key("api_host", err)
	f.Add(cafile.Check(c.CA, c.CAFile))
	return f.Err()
}

// readURLs reads one URL or several, separated by commas.
func readURLs(text string) (urls []string, err error) {
	for one := range strings.SplitSeq(text, ",") {
		u, _, err := endpoint.Parse(one, ports)
		if err != nil {
			return nil, fmt.Errorf("%w; separate several with commas", err)
		}
		urls = append(urls, u.Scheme+"://"+u.Host)
	}
	return urls, nil
}
