package openwhisk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Config is the backend's own configuration: one database that runtimes share.
type Config struct {
	// DatabaseURL is the PostgreSQL database of the runtimes (their
	// FUNCTIONS_DATABASE_URL).
	DatabaseURL services.Secret `json:"database_url"`
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
	if c.DatabaseURL.IsZero() {
		faults = append(faults, errors.New("database_url: is missing; give the database of the functions' runtimes"))
	} else if s, err := c.store(context.Background()); err != nil {
		faults = append(faults, err)
	} else {
		s.Close()
	}
	if _, err := readHost(c.APIHost); err != nil {
		faults = append(faults, fmt.Errorf("api_host: %w", err))
	}
	if err := cafile.Check(c.CA, c.CAFile); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// connections are enough for the operations that the engine works on at once.
const connections = 8

func (c *Config) store(ctx context.Context) (*state.Store, error) {
	s, err := state.Open(ctx, c.DatabaseURL.Reveal(), connections)
	if err != nil {
		return nil, fmt.Errorf("database_url: %w", err)
	}
	return s, nil
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
		return apiHost{}, errors.New("has a port that is none")
	}
	h.port = uint16(port)
	return h, nil
}
