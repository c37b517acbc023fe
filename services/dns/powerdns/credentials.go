package powerdns

import (
	"fmt"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// credentials are what a binding's application reads.
func (b *backend) credentials(zone, key, secret string, role access.Role) services.Credentials {
	name, algorithm := strings.TrimSuffix(key, "."), b.config.TSIGAlgorithm
	nameservers := make([]any, 0, len(b.nameserver))
	for _, n := range b.nameserver {
		nameservers = append(nameservers, strings.TrimSuffix(n, "."))
	}
	return b.server.Credentials(credentialType, "all", map[string]any{
		"zone":           strings.TrimSuffix(zone, "."),
		"server":         b.server.Host,
		"nameservers":    nameservers,
		"role":           string(role),
		"tsig_name":      name,
		"tsig_algorithm": algorithm,
		"tsig_secret":    secret,
		// The option -k of nsupdate, dig and BIND's other tools reads this file.
		"tsig_key_file": fmt.Sprintf("key %q {\n\talgorithm %s;\n\tsecret %q;\n};\n", name, algorithm, secret),
	})
}
