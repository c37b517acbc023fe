package feed

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// listening are the settings of a feed of messages: the column settings.
type listening struct {
	Stream      string `json:"stream"`
	Subject     string `json:"subject,omitempty"`     // a filter; empty for the whole stream
	Durable     string `json:"durable,omitempty"`     // the consumer's name; empty if the feed chooses it
	Deliver     string `json:"deliver"`               // where a new consumer starts: deliverAll or deliverNew
	MaxInFlight int64  `json:"maxInFlight"`           // messages at a time, in each runtime
	MaxAttempts int64  `json:"maxAttempts,omitempty"` // for a message; 0 means the plan's maximum
	DeadLetter  string `json:"deadLetter,omitempty"`  // a subject; empty for CHANDLER_DEAD; noDeadLetter
	Reply       string `json:"reply,omitempty"`       // the subject of results; empty or noReply
}

const (
	deliverAll   = "all"
	deliverNew   = "new"
	noDeadLetter = "none"
	noReply      = "none"

	defaultInFlight = 8
	maxInFlight     = 64
	maxAttempts     = 100
	maxServers      = 8
	maxName         = 256
)

var (
	// Names of streams and consumers become parts of subjects (NATS documentation, "Naming").
	jetstreamName = regexp.MustCompile(`^[^\s.*>/\\\x00-\x1f\x7f]{1,255}$`)
	// A subject consists of tokens separated by dots; the last token of a filter may be >.
	subjectForm = regexp.MustCompile(`^[^\s.*>\x00-\x1f\x7f]+(\.[^\s.*>\x00-\x1f\x7f]+)*$`)
	filterForm  = regexp.MustCompile(`^(>|([^\s.*>\x00-\x1f\x7f]+|\*)(\.([^\s.*>\x00-\x1f\x7f]+|\*))*(\.>)?)$`)
)

// set applies the parameters of a CREATE or UPDATE, and says whether there were any.
func (l *listening) set(p params) (changed bool, err error) {
	for _, one := range []struct {
		key   string
		value *string
		form  *regexp.Regexp
		must  string
	}{
		{"stream", &l.Stream, jetstreamName, "must be the name of a stream"},
		{"subject", &l.Subject, filterForm, "must be a subject; * stands for a token and > for the rest"},
		{"durable", &l.Durable, jetstreamName, "must be the name of a consumer"},
		{"deliver", &l.Deliver, regexp.MustCompile("^(all|new)$"), `must be "all" or "new"`},
		{"deadLetter", &l.DeadLetter, subjectForm, `must be a subject without wildcards, or "none"`},
		{"reply", &l.Reply, subjectForm, `must be a subject without wildcards, or "none"`},
	} {
		if !p.has(one.key) {
			continue
		}
		value := p.text(one.key)
		if len(value) > maxName || !one.form.MatchString(value) || strings.HasPrefix(value, "$") {
			return changed, refuse("the %s parameter %s", one.key, one.must)
		}
		*one.value, changed = value, true
	}
	for _, one := range []struct {
		key   string
		value *int64
		most  int64
	}{{"maxInFlight", &l.MaxInFlight, maxInFlight}, {"maxAttempts", &l.MaxAttempts, maxAttempts}} {
		if !p.has(one.key) {
			continue
		}
		n, isInteger := p.integer(one.key)
		if !isInteger || n < 1 || n > one.most {
			return changed, refuse("the %s parameter must be an integer from 1 to %d", one.key, one.most)
		}
		*one.value, changed = n, true
	}
	return changed, nil
}

// credentials are those of a binding of backend queue/nats: the column sealed.
type credentials struct {
	Servers []string `json:"servers"`
	JWT     string   `json:"jwt"`
	Seed    string   `json:"nkey_seed"`
	CA      string   `json:"ca,omitempty"` // PEM
}

// Format keeps the credentials out of every print verb of package fmt.
func (c credentials) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[credentials]")) }

// credentials reads the parameter credentials, or else the other parameters; nil if there are none.
func (p params) credentials() (*credentials, error) {
	from := p
	if p.has("credentials") {
		from = nil
		if json.Unmarshal(p["credentials"], &from) != nil {
			return nil, refuse("the credentials parameter must be an object, the credentials of a queue's binding")
		}
	}
	if !from.any("servers", "uri", "jwt", "nkey_seed", "creds") {
		return nil, nil
	}
	c := &credentials{JWT: from.text("jwt"), Seed: from.text("nkey_seed"), CA: from.text("ca")}
	if c.JWT == "" && from.has("creds") {
		if err := c.readCreds(from.text("creds")); err != nil {
			return nil, err
		}
	}
	if _, err := jwt.DecodeUserClaims(c.JWT); err != nil {
		return nil, refuse("the jwt parameter must be the JWT of a NATS user")
	}
	pair, err := nkeys.FromSeed([]byte(c.Seed))
	if err != nil {
		return nil, refuse("the nkey_seed parameter must be the seed of a NATS user")
	}
	pair.Wipe()
	c.Servers, err = from.servers()
	return c, err
}

func (c *credentials) readCreds(content string) error {
	token, err := jwt.ParseDecoratedJWT([]byte(content))
	pair, seedErr := jwt.ParseDecoratedUserNKey([]byte(content))
	if err != nil || seedErr != nil {
		return refuse("the creds parameter must be the text of a NATS credentials file")
	}
	defer pair.Wipe()
	seed, _ := pair.Seed() // never fails: pair was read from a seed
	c.JWT, c.Seed = token, string(seed)
	return nil
}

func (p params) servers() ([]string, error) {
	var list []string
	switch {
	case !p.has("servers"):
		list = strings.Split(p.text("uri"), ",")
	case json.Unmarshal(p["servers"], &list) != nil:
		list = strings.Split(p.text("servers"), ",")
	}
	if len(list) > maxServers {
		return nil, refuse("the servers parameter must be %d servers at most", maxServers)
	}
	for i, server := range list {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" || u.User != nil || u.Path != "" {
			return nil, refuse("the servers parameter must be URLs like nats://host:4222 or tls://host:4222, without users")
		}
		if u.Port() == "" {
			u.Host += ":4222"
		}
		list[i] = u.Scheme + "://" + u.Host
	}
	return list, nil
}

// AnyServer in Options.Servers allows feeds to connect anywhere.
const AnyServer = "*"

// allowed refuses other servers than the operator's: the runtimes may reach more than tenants should.
func (l *links) allowed(c credentials) error {
	if l.anywhere() {
		return nil
	}
	for _, server := range c.Servers {
		_, address, _ := strings.Cut(server, "://")
		if !slices.Contains(l.servers, address) {
			return refuse("the server %s is not one that feeds may connect to; ask the operator to name it in FUNCTIONS_MESSAGE_SERVERS", address)
		}
	}
	return nil
}

func (l *links) anywhere() bool { return slices.Contains(l.servers, AnyServer) }
