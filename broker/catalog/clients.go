package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/services"
)

// Client is a caller: a platform or an operator. It authenticates in any of the ways that
// are set.
type Client struct {
	Name string `yaml:"name,required"`
	// Username and any one password are for Basic authentication. There may be two
	// passwords, so that one can be replaced without an outage. PasswordFiles are read
	// again when they change.
	Username      string            `yaml:"username"`
	Passwords     []services.Secret `yaml:"passwords,raw"`
	PasswordFiles []string          `yaml:"password_files"`
	// Tokens are bearer tokens; nil: none.
	Tokens *Tokens `yaml:"tokens"`
	// Certificates are those of TLS; nil: none.
	Certificates *Certificates `yaml:"certificates"`
	// Delivery is how credentials reach a platform's applications if the plan has no
	// delivery; empty: inline.
	Delivery string `yaml:"delivery"`
}

// Tokens says which JWTs (RFC 7519) are a client's.
type Tokens struct {
	// Issuer and Audience are the required values of iss and aud.
	Issuer   string `yaml:"issuer,required"`
	Audience string `yaml:"audience,required"`
	// JWKSURL has the issuer's keys; empty: the issuer's metadata says where they are
	// (OpenID Connect Discovery 1.0).
	JWKSURL string `yaml:"jwks_url"`
	// Scopes are all required. Subjects are the accepted values of sub; empty: any.
	Scopes   []string `yaml:"scopes"`
	Subjects []string `yaml:"subjects"`
	// ClockSkew is how much the issuer's clock may differ from this one's.
	ClockSkew time.Duration `yaml:"clock_skew"`
}

// Certificates says which client certificates are a client's: those of the CA
// with any one of the names.
type Certificates struct {
	// CAFile holds the certificates of the CA, PEM.
	CAFile string `yaml:"ca_file,required"`
	// Subjects are distinguished names as RFC 2253 writes them; DNSNames and
	// URIs are alternative names.
	Subjects []string `yaml:"subjects"`
	DNSNames []string `yaml:"dns_names"`
	URIs     []string `yaml:"uris"`
}

const (
	mostPasswords    = 2
	shortestPassword = 8
	usualSkew        = time.Minute
	longestSkew      = 10 * time.Minute
)

var clientName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// clients reads a section of clients. what names one of them in faults.
func (c *checker) clients(section []*node, what string, without ...string) []Client {
	var clients []Client
	names, usernames := map[string]*node{}, map[string]*node{}
	for _, n := range section {
		var client Client
		if c.read(n, &client, without...) {
			client.Passwords = c.passwords(n.member("passwords"), n.member("password_files"))
			c.checkClient(n, client, what)
		}
		c.unique(n.member("name"), client.Name, names)
		c.unique(n.member("username"), client.Username, usernames)
		clients = append(clients, client)
	}
	return clients
}

func (c *checker) checkClient(n *node, client Client, what string) {
	if client.Name != "" && !clientName.MatchString(client.Name) {
		c.wrong(n.member("name"), "%s's name has 1 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-'", what)
	}
	if strings.Contains(client.Username, ":") || hasControl(client.Username) {
		c.wrong(n.member("username"), "must have neither a colon nor a control character: "+
			"basic authentication cannot carry them (RFC 7617)")
	}
	c.checkDelivery(n.member("delivery"), client.Delivery)
	has := func(key string) bool { return n.member(key) != nil }
	passwords := has("passwords") || has("password_files")
	switch {
	case has("username") && !passwords:
		c.add(n.line, under(n.path, "passwords"), "is required with a username; password_files may stand for it")
	case passwords && !has("username"):
		c.add(n.line, under(n.path, "username"), "is required with a password")
	case !passwords && !has("tokens") && !has("certificates"):
		c.wrong(n, "%s needs a way to authenticate: username with passwords or password_files, tokens, or certificates", what)
	}
}

func (c *checker) passwords(n, files *node) []services.Secret {
	var passwords []services.Secret
	items, total := c.list(n), 0
	for _, list := range []*node{n, files} {
		if list == nil || list.kind != isList {
			continue
		}
		total += len(list.items)
		if len(list.items) == 0 || total > mostPasswords {
			c.wrong(list, "there are %d passwords; a client has one, or two while one replaces the other", total)
		}
	}
	for i, item := range items {
		text := c.text(item)
		if text == "" {
			continue
		}
		if err := CheckPassword(text); err != nil {
			c.wrong(item, "%s", err)
		} else if i > 0 && text == items[0].text {
			c.wrong(item, "is the first password again; remove it")
		}
		passwords = append(passwords, services.NewSecret(text))
	}
	return passwords
}

// CheckPassword says what is wrong with a password.
func CheckPassword(text string) error {
	switch {
	case utf8.RuneCountInString(text) < shortestPassword:
		return fmt.Errorf("must have at least %d characters", shortestPassword)
	case hasControl(text):
		return errors.New("must have no control character: basic authentication cannot carry it (RFC 7617)")
	}
	return nil
}

func (t *Tokens) check(c *checker, n *node) {
	if skew := n.member("clock_skew"); skew == nil {
		t.ClockSkew = usualSkew
	} else if t.ClockSkew > longestSkew {
		c.wrong(skew, "must be %s at most; set the clocks", longestSkew)
	}
	c.address(n.member("issuer"), t.Issuer)
	c.address(n.member("jwks_url"), t.JWKSURL)
}

// address checks a URL that keys are fetched from: on plain HTTP, anybody on the network
// could replace the keys.
func (c *checker) address(n *node, text string) {
	if n == nil || text == "" {
		return
	}
	u, err := url.Parse(text)
	local := err == nil && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1")
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !local) {
		c.wrong(n, "must be a URL that begins with https:// (http:// for this machine only) and contains no user")
	}
}

func (t *Certificates) check(c *checker, n *node) {
	if len(t.Subjects)+len(t.DNSNames)+len(t.URIs) == 0 {
		c.wrong(n, "name the accepted subjects, dns_names or uris: without them every certificate of the CA would be accepted")
	}
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
