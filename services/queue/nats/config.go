package nats

import (
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/jwt/v2"

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

// Plan is what a plan of this backend says about its accounts.
type Plan struct {
	// Storage is what all streams on disk may hold together, each copy counted.
	Storage services.Size `json:"storage"`
	// Memory is the same for streams in memory; 0: there can be none.
	Memory services.Size `json:"memory"`
	// Streams is how many streams, key-value buckets and object stores there may be.
	Streams int64 `json:"streams"`
	// Consumers is how many consumers a stream may have.
	Consumers int64 `json:"consumers"`
	// Connections is how many connections an instance's applications may hold together.
	Connections int64 `json:"connections"`
	// Subscriptions is how many subscriptions one connection may hold.
	Subscriptions int64 `json:"subscriptions"`
	// Payload is how large a message may be.
	Payload services.Size `json:"payload"`
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() {
	*p = Plan{
		Storage: 256 * services.Megabyte, Streams: 10, Consumers: 20,
		Connections: 20, Subscriptions: 1000, Payload: services.Megabyte,
	}
}

const (
	maxCount   = 1_000_000
	maxPayload = 64 * services.Megabyte // the largest message that a NATS server can be set to take
)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.If(p.Storage < services.Megabyte, "storage: must be %s, and 1MB at least", services.SizeForm)
	f.Size("memory", p.Memory, services.Megabyte)
	f.If(p.Payload < services.Kilobyte || p.Payload > maxPayload, "payload: must be %s, from 1kB to 64MB", services.SizeForm)
	check.Range(&f, "streams", p.Streams, 1, maxCount)
	check.Range(&f, "consumers", p.Consumers, 1, maxCount)
	check.Range(&f, "connections", p.Connections, 1, maxCount)
	check.Range(&f, "subscriptions", p.Subscriptions, 1, maxCount)
	return f.Err()
}

// limits is the plan in an account's claims. The storage is for all streams together, not for each
// number of copies ("tiered"), so that it bounds what an instance takes of the disks.
func (p Plan) limits() jwt.OperatorLimits {
	return jwt.OperatorLimits{
		NatsLimits:    jwt.NatsLimits{Subs: p.Subscriptions, Data: jwt.NoLimit, Payload: int64(p.Payload)},
		AccountLimits: jwt.AccountLimits{Conn: p.Connections, DisallowBearer: true}, // no leaf nodes, imports or exports
		JetStreamLimits: jwt.JetStreamLimits{
			DiskStorage: int64(p.Storage), MemoryStorage: int64(p.Memory),
			Streams: p.Streams, Consumer: p.Consumers,
		},
	}
}
