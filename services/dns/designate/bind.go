package designate

import (
	"context"
	"maps"
	"net/http"
	"strconv"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Bind implements services.Backend.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	p, err := b.cloud.FindProject(ctx, r.Instance.Name)
	if err != nil {
		return services.BindResult{}, err
	}
	var z zones.Zone
	role := r.Binding.Params.Role
	credential, err := b.cloud.EnsureCredential(ctx, p, r.Binding.Name, r.Binding.Seed, func(client *gophercloud.ServiceClient) ([]openstack.AccessRule, error) {
		z, err = findZone(ctx, versioned(client), zoneName(r.Instance))
		return b.rules(z.ID, role), err
	})
	if err != nil {
		return services.BindResult{}, err
	}
	names, err := nameservers(ctx, versioned(credential.Client), z.ID)
	if err != nil {
		return services.BindResult{}, err
	}
	values, err := b.cloud.Values(credential)
	if err != nil {
		return services.BindResult{}, err
	}
	b.describe(values, z, names, role)
	endpoints := append(b.cloud.Endpoints(credential), services.Endpoint{Host: values["host"].(string), Ports: []string{strconv.Itoa(int(b.config.Port))}, Protocol: "all"})
	return services.BindResult{Credentials: services.Credentials{Values: values, Endpoints: endpoints}}, nil
}

// rules are the requests that a binding may make: only of its own zone, and what programs need
// that find a zone by its name.
func (b *backend) rules(zoneID string, role access.Role) []openstack.AccessRule {
	own := "/v2/zones/" + zoneID
	rules := []openstack.AccessRule{
		b.cloud.Rule(http.MethodGet, "/v2/zones"),
		b.cloud.Rule(http.MethodGet, own),
		b.cloud.Rule(http.MethodGet, own+"/recordsets"),
		b.cloud.Rule(http.MethodGet, own+"/recordsets/*"),
	}
	if role == access.ReadOnly {
		return rules
	}
	return append(rules,
		b.cloud.Rule(http.MethodPost, own+"/recordsets"),
		b.cloud.Rule(http.MethodPut, own+"/recordsets/*"),
		b.cloud.Rule(http.MethodDelete, own+"/recordsets/*"))
}

// describe adds to the credentials what the application reads about the zone.
func (b *backend) describe(values map[string]any, z zones.Zone, nameservers []any, role access.Role) {
	host := b.config.Host
	if host == "" {
		host, _ = nameservers[0].(string)
	}
	maps.Copy(values, map[string]any{
		"type": credentialType, "provider": "chandler",
		"zone": withoutDot(z.Name), "zone_id": z.ID, "role": string(role),
		"server": host, "host": host, "port": float64(b.config.Port), "nameservers": nameservers,
		// For so many seconds after unbind, a token may still work.
		"revocation_delay": float64(max(0, b.config.TokenCacheTime)),
	})
}

// Unbind implements services.Backend. With its user, a credential and its tokens end.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	return services.UnbindResult{}, b.cloud.DeleteUser(ctx, r.Instance.Name, r.Binding.Name)
}
