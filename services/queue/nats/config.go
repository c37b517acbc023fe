package nats

import (
	"fmt"
	"os"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/naming"
)

// Config is the backend's own configuration: one NATS server or cluster with an operator.
type Config struct {
	// URL is how the broker connects: servers, separated by commas.
	URL string `json:"url"`
	// OperatorSeed is the operator's key, or better one of its signing keys ("SO...").
	OperatorSeed     services.Secret `json:"operator_seed"`
	OperatorSeedFile string          `json:"operator_seed_file"`
	// SystemCreds is the text of the credentials file of a user of the system account.
	SystemCreds     services.Secret `json:"system_creds"`
	SystemCredsFile string          `json:"system_creds_file"`
	// AccountRoot is what the accounts' keys derive from; default: the operator's key. It must
	// not change while instances exist.
	AccountRoot     services.Secret `json:"account_root"`
	AccountRootFile string          `json:"account_root_file"`
	// Servers are what applications are told, separated by commas; default: URL.
	Servers string `json:"servers"`
	// CA or CAFile has the certificates of the servers' authority, for applications too.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the names of all accounts that this backend makes.
	Prefix string `json:"prefix"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() { c.Prefix = "chandler" }

// minRoot is how many characters a root has at least: 128 bits as hexadecimal digits.
const minRoot = 32

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	_, err := addresses(c.URL)
	f.Key("url", err)
	if c.Servers != "" {
		_, err := addresses(c.Servers)
		f.Key("servers", err)
	}
	f.Add(
		oneOf("operator_seed", c.OperatorSeed, c.OperatorSeedFile, true),
		oneOf("system_creds", c.SystemCreds, c.SystemCredsFile, true),
		oneOf("account_root", c.AccountRoot, c.AccountRootFile, false),
		cafile.Check(c.CA, c.CAFile))
	if !c.OperatorSeed.IsZero() {
		_, err := operatorKey(c.OperatorSeed)
		f.Key("operator_seed", err)
	}
	if !c.SystemCreds.IsZero() {
		f.Key("system_creds", checkCreds(c.SystemCreds))
	}
	f.If(!c.AccountRoot.IsZero() && len(c.AccountRoot.Reveal()) < minRoot, "account_root: must have %d characters at least", minRoot)
	f.Add(naming.CheckPrefix(c.Prefix, 16))
	return f.Err()
}

// oneOf checks that a value is given directly or as a file and not as both.
func oneOf(key string, value services.Secret, file string, required bool) error {
	switch {
	case !value.IsZero() && file != "":
		return fmt.Errorf("%s_file: cannot be given together with %s", key, key)
	case required && value.IsZero() && file == "":
		return fmt.Errorf("%s: is missing; give it, or name a file as %s_file", key, key)
	}
	return nil
}

// read returns a value that is given directly or as a file.
func read(key string, value services.Secret, file string) (services.Secret, error) {
	if file == "" {
		return value, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return value, fmt.Errorf("%s_file: %w", key, err)
	}
	return services.NewSecret(strings.TrimSpace(string(content))), nil
}

// address is where a server is.
type address struct {
	endpoint.Server
	url string
	tls bool
}

// ports are the schemes of servers with their default ports.
var ports = map[string]uint16{"nats": 4222, "tls": 4222}

// addresses reads a list of servers.
func addresses(list string) ([]address, error) {
	var all []address
	for text := range strings.SplitSeq(list, ",") {
		u, s, err := endpoint.Parse(text, ports)
		if err != nil {
			return nil, fmt.Errorf("%w; separate several servers by commas", err)
		}
		all = append(all, address{s, u.Scheme + "://" + s.Address(), u.Scheme == "tls"})
	}
	return all, nil
}

// urls lists servers, separated by commas.
func urls(all []address) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.url
	}
	return strings.Join(texts, ",")
}
