// Package osbclient is a client of the Open Service Broker API 2.17: a method for each
// endpoint, with typed answers beside the raw ones. It has no state and hides nothing of
// the protocol.
package osbclient

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultVersion is the default X-Broker-API-Version.
const DefaultVersion = "2.17"

// Options configure a Client.
type Options struct {
	// URL is the broker's, without /v2; required.
	URL string
	// Username and Password are for basic authentication, unless both are empty.
	Username, Password string
	// HTTP sends the requests; default: a client that gives up after a minute, as
	// platforms do, and does not follow redirects.
	HTTP *http.Client
	// Version is the X-Broker-API-Version; default: DefaultVersion.
	Version string
	// Originating is the platform's user, if there is one.
	Originating *Identity
	// RequestIdentity makes the X-Broker-API-Request-Identity of each request; nil: none.
	RequestIdentity func() string
	// MaxRetryAfter is the longest pause of WaitInstance and WaitBinding, whatever
	// Retry-After says; 0: no limit.
	MaxRetryAfter time.Duration
}

// Identity is a platform's user (OSB 2.17, "Originating Identity").
type Identity struct {
	// Platform is "cloudfoundry" or "kubernetes", for example.
	Platform string
	// Value encodes to a JSON object such as {"user_id": "…"}.
	Value any
}

// Client calls one broker. It is safe for concurrent use.
type Client struct {
	options     Options             // without the password
	authorize   func(*http.Request) // a closure, so that printing the Client does not show the password
	originating string
}

// patience is how long platforms wait for an answer.
const patience = time.Minute

// New makes a Client.
func New(o Options) (_ *Client, err error) {
	c := &Client{authorize: authorization(o.Username, o.Password)}
	if o.URL, err = baseURL(o.URL); err != nil {
		return nil, err
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{
			Timeout:       patience,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if o.Originating != nil {
		if c.originating, err = o.Originating.header(); err != nil {
			return nil, err
		}
	}
	o.Version, o.Password = cmp.Or(o.Version, DefaultVersion), ""
	c.options = o
	return c, nil
}

func baseURL(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return "", errors.New("the broker's URL must be http://HOST or https://HOST") // not shown, because it may contain a password
	case u.User != nil:
		return "", errors.New("the broker's URL must not contain a user and password; give them separately")
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
