package powerdns

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// provider is "provider" in the credentials: who runs the service, which tells
// it from another provider's of the same type (Service Binding Specification,
// "Well-known Secret Entries").
const provider = "chandler"

// credentials are what a binding's application reads.
func (b *backend) credentials(zone, key, secret, role string) services.Credentials {
	name, algorithm := strings.TrimSuffix(key, "."), b.config.TSIGAlgorithm
	nameservers := make([]any, 0, len(b.nameserver))
	for _, n := range b.nameserver {
		nameservers = append(nameservers, strings.TrimSuffix(n, "."))
	}
	return services.Credentials{
		Values: map[string]any{
			"type":           credentialType,
			"provider":       provider,
			"zone":           strings.TrimSuffix(zone, "."),
			"server":         b.config.Host,
			"host":           b.config.Host,
			"port":           float64(b.config.Port),
			"nameservers":    nameservers,
			"role":           role,
			"tsig_name":      name,
			"tsig_algorithm": algorithm,
			"tsig_secret":    secret,
			// What nsupdate, dig and other tools of BIND's family read with -k.
			"tsig_key_file": fmt.Sprintf("key %q {\n\talgorithm %s;\n\tsecret %q;\n};\n", name, algorithm, secret),
		},
		Endpoints: []services.Endpoint{{Host: b.config.Host, Ports: []string{strconv.Itoa(int(b.config.Port))}, Protocol: "all"}},
	}
}
