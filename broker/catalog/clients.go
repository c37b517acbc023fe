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

// Client is who may call: a platform, or an operator. It shows who it is in any
// of the ways that are set.
type Client struct {
	Name string
	// Delivery is how credentials get to a platform's applications, where the plan
	// does not say; empty: inline.
	Delivery string
	// Username and any one password are for Basic authentication; there may be
	// two passwords, so that one can be replaced without an outage. Those of
	// PasswordFiles are read when they change.
	Username      string
	Passwords     []services.Secret
	PasswordFiles []string
	// Tokens are bearer tokens; nil: none.
	Tokens *Tokens
	// Certificates are of TLS; nil: none.
	Certificates *Certificates
}

// Tokens says which JWTs (RFC 7519) are a client's.
type Tokens struct {
	// Issuer and Audience are what iss and aud have to be.
	Issuer, Audience string
	// JWKSURL is where the issuer's keys are; empty: where its metadata says
	// (OpenID Connect Discovery 1.0).
	JWKSURL string
	// Scopes must all be there. Subjects are those of sub that may come; none:
	// any.
	Scopes, Subjects []string
	// ClockSkew is how far the issuer's clock may be from this one's.
	ClockSkew time.Duration
}

// Certificates says which client certificates are a client's: those of the CA
// with any one of the names.
type Certificates struct {
	// CAFile holds the certificates of the CA, PEM.
	CAFile string
	// Subjects are distinguished names as RFC 2253 writes them; DNSNames and
	// URIs are alternative names.
	Subjects, DNSNames, URIs []string
}

const (
	mostPasswords    = 2
	shortestPassword = 8
	usualSkew        = time.Minute
	longestSkew      = 10 * time.Minute
)

var clientName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// clients reads a section of clients; what is what they are called.
func (c *checker) clients(top object, section, what string) []Client {
	var clients []Client
	names, usernames := make(map[string]*node), make(map[string]*node)
	for _, n := range top.list(section) {
		keys := []string{"name", "username", "passwords", "password_files", "tokens", "certificates"}
		if section == "platforms" {
			keys = append(keys, "delivery")
		}
		o := c.object(n, keys...)
		o.need("name")
		client := Client{Name: o.text("name"), Username: o.text("username")}
		if client.Name != "" && !clientName.MatchString(client.Name) {
			c.wrong(n.member("name"), "%s's name has 1 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-'", what)
		}
		if strings.Contains(client.Username, ":") || hasControl(client.Username) {
			c.wrong(n.member("username"), "must have neither a colon nor a control character: "+
				"basic authentication cannot carry them (RFC 7617)")
		}
		c.unique(n.member("name"), client.Name, names)
		c.unique(n.member("username"), client.Username, usernames)
		client.Passwords, client.PasswordFiles = c.passwords(o), o.texts("password_files")
		client.Tokens, client.Certificates = c.tokens(o), c.certificates(o)
		client.Delivery = c.delivery(o)
		c.ways(o, what)
		clients = append(clients, client)
	}
	return clients
}

// ways checks that a client can show who it is.
func (c *checker) ways(o object, what string) {
	if o.node == nil {
		return
	}
	has := func(key string) bool { return o.node.member(key) != nil }
	passwords := has("passwords") || has("password_files")
	switch {
	case has("username") && !passwords:
		c.add(o.node.line, under(o.node.path, "passwords"), "is missing, and must be there with a username; password_files may stand for it")
	case passwords && !has("username"):
		c.add(o.node.line, under(o.node.path, "username"), "is missing, and must be there with a password")
	case !passwords && !has("tokens") && !has("certificates"):
		c.wrong(o.node, "%s needs a way to show who it is: username with passwords or password_files, tokens, or certificates", what)
	}
}

func (c *checker) passwords(o object) []services.Secret {
	var passwords []services.Secret
	items := o.list("passwords")
	n, files := o.node.member("passwords"), o.node.member("password_files")
	if n != nil && n.kind == isList && (len(items) == 0 || len(items) > mostPasswords) {
		c.wrong(n, "there are %d passwords; a client has one, or two while one replaces the other", len(items))
	}
	if files != nil && files.kind == isList && (len(files.items) == 0 || len(files.items)+len(items) > mostPasswords) {
		c.wrong(files, "there are %d passwords; a client has one, or two while one replaces the other", len(files.items)+len(items))
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

func (c *checker) tokens(o object) *Tokens {
	n := o.node.member("tokens")
	if n == nil {
		return nil
	}
	t := c.object(n, "issuer", "audience", "jwks_url", "scopes", "subjects", "clock_skew")
	t.need("issuer", "audience")
	tokens := &Tokens{
		Issuer: t.text("issuer"), Audience: t.text("audience"), JWKSURL: t.text("jwks_url"),
		Scopes: t.texts("scopes"), Subjects: t.texts("subjects"), ClockSkew: usualSkew,
	}
	if skew := n.member("clock_skew"); skew != nil {
		tokens.ClockSkew = t.duration("clock_skew")
		if tokens.ClockSkew > longestSkew {
			c.wrong(skew, "must be %s at most; set the clocks", longestSkew)
		}
	}
	c.address(n.member("issuer"), tokens.Issuer)
	c.address(n.member("jwks_url"), tokens.JWKSURL)
	return tokens
}

// address checks a URL that keys come from: over plain HTTP anybody on the way
// could put in keys of their own, unless there is no way.
func (c *checker) address(n *node, text string) {
	if n == nil || text == "" {
		return
	}
	u, err := url.Parse(text)
	local := err == nil && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1")
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !local) {
		c.wrong(n, "must be a URL that begins with https:// (http:// for this machine only) and has no user in it")
	}
}

func (c *checker) certificates(o object) *Certificates {
	n := o.node.member("certificates")
	if n == nil {
		return nil
	}
	t := c.object(n, "ca_file", "subjects", "dns_names", "uris")
	t.need("ca_file")
	certificates := &Certificates{
		CAFile: t.text("ca_file"), Subjects: t.texts("subjects"), DNSNames: t.texts("dns_names"), URIs: t.texts("uris"),
	}
	if t.node != nil && len(certificates.Subjects)+len(certificates.DNSNames)+len(certificates.URIs) == 0 {
		c.wrong(n, "name the subjects, dns_names or uris that may come: otherwise every certificate of the CA would do")
	}
	return certificates
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
