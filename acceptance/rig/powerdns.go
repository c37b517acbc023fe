package rig

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/embedded"
)

// startPowerDNS puts no proxy before the port that answers DNS: that is UDP.
func startPowerDNS(ctx context.Context, d *Deployment, s *Server) (map[string]string, error) {
	server, err := embedded.StartPowerDNS(ctx, embedded.PowerDNSOptions{Dir: d.path("powerdns"), NoSync: !d.Durable})
	if err != nil {
		return nil, err
	}
	s.process = server
	s.holds = func(ctx context.Context) ([]string, error) { return powerDNSHolds(ctx, server) }
	d.Secrets.Add("PowerDNS's API key", server.APIKey())
	api, err := url.Parse(server.APIURL())
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(api.Port())
	if err != nil {
		return nil, err
	}
	proxy, err := s.proxy(api.Hostname(), port)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"POWERDNS_API_URL": "http://" + proxy.Addr(), "POWERDNS_API_KEY": server.APIKey(),
		"POWERDNS_HOST": server.Host(), "POWERDNS_PORT": strconv.Itoa(server.Port()),
	}, nil
}

// powerDNSHolds are the zones and keys; the server has none of its own.
func powerDNSHolds(ctx context.Context, server *embedded.PowerDNS) ([]string, error) {
	names := []string{}
	for _, path := range []string{"zones", "tsigkeys"} {
		var there []struct {
			Name string `json:"name"`
		}
		address := server.APIURL() + "/api/v1/servers/localhost/" + path
		if err := fetchJSON(ctx, address, http.Header{"X-Api-Key": {server.APIKey()}}, &there); err != nil {
			return nil, err
		}
		for _, t := range there {
			names = append(names, t.Name)
		}
	}
	return names, nil
}
