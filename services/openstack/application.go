package openstack

import (
	"fmt"
	"net/url"

	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/services"
)

// Values are the credentials by which applications use an application credential: each value, and
// the file clouds.yaml that OpenStack's programs and libraries read. The authority of the
// cloud's certificates is "ca", which clouds.yaml can only name as a file.
func (c *Cloud) Values(cred Credential) (map[string]any, error) {
	text, err := yaml.Marshal(map[string]any{"clouds": map[string]any{"chandler": map[string]any{
		"auth_type": "v3applicationcredential",
		"auth": map[string]any{
			"auth_url": c.AuthURL(), "application_credential_id": cred.ID, "application_credential_secret": cred.Secret.Reveal(),
		},
		"region_name": cred.Region, "interface": publicInterface, "identity_api_version": 3,
	}}})
	if err != nil {
		return nil, fmt.Errorf("write clouds.yaml: %w", err)
	}
	values := map[string]any{
		"auth_url": c.AuthURL(), "application_credential_id": cred.ID, "application_credential_secret": cred.Secret.Reveal(),
		"project_id": cred.ProjectID, "region": cred.Region, "interface": publicInterface, "clouds_yaml": string(text),
	}
	if c.ca != "" {
		values["ca"] = c.ca
	}
	return values, nil
}

// Endpoints are what applications connect to: Keystone and the service.
func (c *Cloud) Endpoints(cred Credential) []services.Endpoint {
	var all []services.Endpoint
	for _, text := range []string{c.AuthURL(), cred.URL} {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			continue // the catalog's, which the operator wrote
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		all = append(all, services.Endpoint{Host: u.Hostname(), Ports: []string{port}, Protocol: "tcp"})
	}
	return all
}
