package nats

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// provider is "provider" in the credentials: who runs the service (Service
// Binding Specification, "Well-known Secret Entries").
const provider = "chandler"

// told is what applications are told of the servers.
type told struct {
	servers []address
	ca      string
}

func (c *Config) told(servers []address) (told, error) {
	t := told{servers: servers}
	var err error
	if c.Servers != "" {
		if t.servers, err = addresses(c.Servers); err != nil {
			return t, fmt.Errorf("servers: %w", err)
		}
	}
	t.ca, err = cafile.Read(c.CA, c.CAFile)
	return t, err
}

// credentials are what a binding's application reads.
func (t told) credentials(token, seed string) (services.Credentials, error) {
	creds, err := jwt.FormatUserConfig(token, []byte(seed))
	if err != nil {
		return services.Credentials{}, errors.New("the user's token cannot be put into a credentials file") // err might quote it
	}
	first := t.servers[0]
	servers, endpoints := []any{}, []services.Endpoint{}
	for _, s := range t.servers {
		servers = append(servers, s.String())
		endpoints = append(endpoints, services.Endpoint{Host: s.host, Ports: []string{strconv.Itoa(int(s.port))}, Protocol: "tcp"})
	}
	values := map[string]any{
		"type":      credentialType,
		"provider":  provider,
		"host":      first.host,
		"port":      float64(first.port),
		"uri":       joined(t.servers),
		"servers":   servers,
		"jwt":       token,
		"nkey_seed": seed,
		"creds":     string(creds),
		"tls":       first.scheme == "tls" || t.ca != "",
	}
	if t.ca != "" {
		values["ca"] = t.ca
	}
	return services.Credentials{Values: values, Endpoints: endpoints}, nil
}
