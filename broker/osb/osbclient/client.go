// Package osbclient is a client of the Open Service Broker API 2.17: a method
// per endpoint, with typed answers beside the raw ones. It keeps no state and
// hides nothing of the protocol.
package osbclient

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultVersion is the X-Broker-API-Version that is sent where Options names
// none.
const DefaultVersion = "2.17"

// Options says which broker to speak to and as whom.
type Options struct {
	// URL is where the broker is, without /v2; required.
	URL string
	// Username and Password are for basic authentication; it is left out where
	// both are empty.
	Username, Password string
	// HTTP sends the requests; default: a client that gives up after a minute,
	// as platforms do, and follows no redirect.
	HTTP *http.Client
	// Version is the X-Broker-API-Version; default: DefaultVersion.
	Version string
	// Originating is who asks the platform to ask, where somebody does.
	Originating *Identity
	// RequestIdentity makes the X-Broker-API-Request-Identity of each request;
	// nil sends none.
	RequestIdentity func() string
	// MaxRetryAfter bounds how long WaitInstance and WaitBinding heed a
	// Retry-After; 0: without bound.
	MaxRetryAfter time.Duration
}

// Identity is a platform's user (OSB 2.17, "Originating Identity").
type Identity struct {
	// Platform is such as "cloudfoundry" or "kubernetes".
	Platform string
	// Value encodes to a JSON object, such as {"user_id": "…"}.
	Value any
}

// Client speaks to one broker. It is safe for concurrent use.
type Client struct {
	base            string
	authorize       func(*http.Request) // a closure, so that no print of the Client shows the password
	http            *http.Client
	version         string
	originating     string
	requestIdentity func() string
	maxRetryAfter   time.Duration
}

// patience is what platforms have with a broker: a minute.
const patience = time.Minute

// New makes a Client.
func New(o Options) (*Client, error) {
	base, err := baseURL(o.URL)
	if err != nil {
		return nil, err
	}
	c := &Client{
		base: base, authorize: authorization(o.Username, o.Password), http: o.HTTP, version: o.Version,
		requestIdentity: o.RequestIdentity, maxRetryAfter: o.MaxRetryAfter,
	}
	if c.http == nil {
		c.http = &http.Client{
			Timeout:       patience,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if c.version == "" {
		c.version = DefaultVersion
	}
	if o.Originating != nil {
		if c.originating, err = o.Originating.header(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func baseURL(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return "", errors.New("the broker's URL must be http://HOST or https://HOST") // it may hold a password: not shown
	case u.User != nil:
		return "", errors.New("the broker's URL must hold no user and password; give them on their own")
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("the broker's URL must end with its path: no query and no fragment")
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

func authorization(username, password string) func(*http.Request) {
	if username == "" && password == "" {
		return func(*http.Request) {}
	}
	return func(r *http.Request) { r.SetBasicAuth(username, password) }
}
