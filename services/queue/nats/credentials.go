package nats

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// clientEndpoints are where applications find the servers.
type clientEndpoints struct {
	servers []address
	ca      string
}

func (c *Config) clientEndpoints() (e clientEndpoints, err error) {
	if e.servers, err = addresses(cmp.Or(c.Servers, c.URL)); err != nil {
		return e, fmt.Errorf("servers: %w", err)
	}
	e.ca, err = cafile.Read(c.CA, c.CAFile)
	return e, err
}

// credentials are what a binding's application reads.
func (e clientEndpoints) credentials(token, seed string) (services.Credentials, error) {
	creds, err := jwt.FormatUserConfig(token, []byte(seed))
	if err != nil {
		return services.Credentials{}, errors.New("the user's token cannot be put into a credentials file") // err might quote it
	}
	first, servers := e.servers[0], []any{}
	var endpoints []services.Endpoint
	for _, s := range e.servers {
		servers = append(servers, s.url)
		endpoints = append(endpoints, s.Credentials(credentialType, "tcp", map[string]any{}).Endpoints...)
	}
	first.CA = e.ca
	credentials := first.Credentials(credentialType, "tcp", map[string]any{
		"uri":       strings.Join(urls(e.servers), ","),
		"servers":   servers,
		"jwt":       token,
		"nkey_seed": seed,
		"creds":     string(creds),
		"tls":       first.tls || e.ca != "",
	})
	credentials.Endpoints = endpoints
	return credentials, nil
}
