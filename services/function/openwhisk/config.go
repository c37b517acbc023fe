package openwhisk

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Config is the backend's own configuration: the runtimes of one database.
type Config struct {
	// AdminURL is where the runtimes serve the administration API: one URL, or
	// several separated by commas.
	AdminURL string `json:"admin_url"`
	// Token is one of the runtimes' FUNCTIONS_ADMIN_TOKEN.
	Token services.Secret `json:"token"`
	// CertificateFile and KeyFile are a client certificate that the runtimes
	// accept, in place of Token or beside it.
	CertificateFile string `json:"certificate_file"`
	KeyFile         string `json:"key_file"`
	// AdminCAFile is the PEM of the authority that signed the certificate at
	// AdminURL; default: CA.
	AdminCAFile string `json:"admin_ca_file"`
	// APIHost is the URL by which applications reach the runtimes, without a
	// path.
	APIHost string `json:"api_host"`
	// CA or CAFile is the PEM of the authority that signed the certificate at
	// APIHost, handed out with the credentials.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
}

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var faults []error
	fault := func(key string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
	}
	_, err := readURLs(c.AdminURL)
	fault("admin_url", err)
	if c.Token.IsZero() && c.CertificateFile == "" {
		fault("token", errors.New("is missing; give one of the runtimes' FUNCTIONS_ADMIN_TOKEN, or a client certificate (certificate_file, key_file)"))
	}
	if (c.CertificateFile == "") != (c.KeyFile == "") {
		fault("key_file", errors.New("must be given together with certificate_file"))
	}
	_, err = readHost(c.APIHost)
	fault("api_host", err)
	if err := cafile.Check(c.CA, c.CAFile); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// apiHost is where applications call.
type apiHost struct {
	scheme, host string // host with its port, where one was given
	name         string
	port         uint16
}

func (h apiHost) String() string { return h.scheme + "://" + h.host }

func readHost(text string) (apiHost, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return apiHost{}, errors.New("must be https://host or https://host:port, or the same with http, without a path") // err would quote it
	}
	h := apiHost{scheme: u.Scheme, host: u.Host, name: u.Hostname(), port: 443}
	if u.Scheme == "http" {
		h.port = 80
	}
	if u.Port() == "" {
		return h, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return apiHost{}, errors.New("has an invalid port")
	}
	h.port = uint16(port)
	return h, nil
}
