package embedded

import (
	"context"
	"errors"
	"net/http"
	"strconv"
)

func powerDNSKind() Kind {
	return Kind{Backend: "dns/powerdns", Folder: "powerdns", missing: ErrNoPowerDNS, Start: func(ctx context.Context, o Options) (*Running, error) {
		p, err := StartPowerDNS(ctx, PowerDNSOptions{Dir: o.Dir, NoSync: o.NoSync})
		if err != nil {
			return nil, err
		}
		return &Running{Server: p, Variables: p.variables, Holds: p.holds, Secrets: map[string]string{"PowerDNS's API key": p.apiKey}}, nil
	}}
}

// variables connects to the API only: the port for DNS is UDP, too.
func (p *PowerDNS) variables(connect func(string) string) map[string]string {
	return map[string]string{
		"POWERDNS_API_URL": "http://" + connect(localAddress(p.apiPort)), "POWERDNS_API_KEY": p.apiKey,
		"POWERDNS_HOST": p.Host(), "POWERDNS_PORT": strconv.Itoa(p.port),
	}
}

// holds lists the zones and keys; the server has none of its own.
func (p *PowerDNS) holds(ctx context.Context) ([]string, error) {
	header := http.Header{"X-Api-Key": {p.apiKey}}
	zones, err := named(ctx, p.APIURL()+"/api/v1/servers/localhost/zones", header)
	keys, also := named(ctx, p.APIURL()+"/api/v1/servers/localhost/tsigkeys", header)
	return append(zones, keys...), errors.Join(err, also)
}
