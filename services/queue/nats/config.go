package nats

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Config is the backend's own configuration: one NATS system, which is a server
// or a cluster with an operator.
type Config struct {
	// URL is how the broker connects: one server or several, separated by
	// commas.
	URL string `json:"url"`
	// OperatorSeed or OperatorSeedFile is the operator's key, or better one of
	// the operator's signing keys ("SO..."): it signs accounts.
	OperatorSeed     services.Secret `json:"operator_seed"`
	OperatorSeedFile string          `json:"operator_seed_file"`
	// SystemCreds or SystemCredsFile is the text of the credentials file of a
	// user of the system account.
	SystemCreds     services.Secret `json:"system_creds"`
	SystemCredsFile string          `json:"system_creds_file"`
	// AccountRoot or AccountRootFile is what the accounts' keys derive from;
	// default: the operator's key. It can never change while instances exist.
	AccountRoot     services.Secret `json:"account_root"`
	AccountRootFile string          `json:"account_root_file"`
	// Servers are what applications are told, separated by commas; default:
	// URL.
	Servers string `json:"servers"`
	// CA or CAFile is the PEM of the authority that signed the servers'
	// certificates, handed out with the credentials.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the names of all accounts that this backend makes.
	Prefix string `json:"prefix"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() { c.Prefix = "chandler" }

var prefixRule = regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`)

// minRoot is how many characters a root of accounts' keys has at least: those of
// 128 bits in hexadecimal digits.
const minRoot = 32

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var faults []error
	if _, err := addresses(c.URL); err != nil {
		faults = append(faults, fmt.Errorf("url: %w", err))
	}
	if c.Servers != "" {
		if _, err := addresses(c.Servers); err != nil {
			faults = append(faults, fmt.Errorf("servers: %w", err))
		}
	}
	faults = append(faults,
		oneOf("operator_seed", c.OperatorSeed, c.OperatorSeedFile, true),
		oneOf("system_creds", c.SystemCreds, c.SystemCredsFile, true),
		oneOf("account_root", c.AccountRoot, c.AccountRootFile, false),
		cafile.Check(c.CA, c.CAFile))
	if !c.OperatorSeed.IsZero() {
		_, err := operatorKey(c.OperatorSeed)
		faults = append(faults, named("operator_seed", err))
	}
	if !c.SystemCreds.IsZero() {
		_, err := systemUser(c.SystemCreds)
		faults = append(faults, named("system_creds", err))
	}
	if !c.AccountRoot.IsZero() && len(c.AccountRoot.Reveal()) < minRoot {
		faults = append(faults, fmt.Errorf("account_root: must have %d characters at least", minRoot))
	}
	if !prefixRule.MatchString(c.Prefix) {
		faults = append(faults, errors.New("prefix: must be 1 to 16 characters of a-z and 0-9 and begin with a letter"))
	}
	return errors.Join(faults...)
}

func named(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", key, err)
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

// address is one server.
type address struct {
	scheme, host string
	port         uint16
}

func (a address) String() string {
	return a.scheme + "://" + net.JoinHostPort(a.host, strconv.Itoa(int(a.port)))
}

const defaultPort = "4222"

// addresses reads a list of servers.
func addresses(list string) ([]address, error) {
	var all []address
	for _, text := range strings.Split(list, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || (u.Scheme != "nats" && u.Scheme != "tls") || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return nil, errors.New("must be nats://host:port, or tls://host:port, or several of them with commas between them, without a user") // err would quote one
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), defaultPort)
		}
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 {
			return nil, errors.New("has a port that is none")
		}
		all = append(all, address{u.Scheme, u.Hostname(), uint16(port)})
	}
	return all, nil
}

func joined(all []address) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}
