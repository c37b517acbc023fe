package embedded

import (
	"context"
	"errors"
	"net/http"
	"strconv"
)

// Access implements Running. Only the API's address is passed to connect, because DNS uses UDP,
// too.
func (p *PowerDNS) Access(connect func(string) string) (variables, secrets map[string]string) {
	return map[string]string{
		"POWERDNS_API_URL": "http://" + connect(localAddress(p.apiPort)), "POWERDNS_API_KEY": p.apiKey,
		"POWERDNS_HOST": p.Host(), "POWERDNS_PORT": strconv.Itoa(p.port),
	}, map[string]string{"PowerDNS's API key": p.apiKey}
}

// Holds implements Running. It lists zones and keys.
func (p *PowerDNS) Holds(ctx context.Context) ([]string, error) {
	header := http.Header{"X-Api-Key": {p.apiKey}}
	zones, err := listNames(ctx, p.APIURL()+"/api/v1/servers/localhost/zones", header)
	keys, also := listNames(ctx, p.APIURL()+"/api/v1/servers/localhost/tsigkeys", header)
	return append(zones, keys...), errors.Join(err, also)
}
