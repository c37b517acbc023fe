package osb

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/auth"
)

// Header names as net/http stores them.
const (
	versionHeader         = "X-Broker-Api-Version"
	requestIdentityHeader = "X-Broker-Api-Request-Identity"
	originatingHeader     = "X-Broker-Api-Originating-Identity"
)

// maxRequestIdentity is how much of a request identity is echoed and logged.
const maxRequestIdentity = 255

// handler answers an admitted request, or returns an error for the answer.
type handler func(x *exchange, r *http.Request) error

// admitted passes authenticated requests to h; an unauthenticated client learns nothing
// more.
func (a *api) admitted(route string, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := w.(*exchange) //nolint:forcetypeassert // ServeHTTP is the router's only caller
		x.route = route
		err := a.admit(x, r)
		if err == nil {
			err = h(x, r)
		}
		if err != nil {
			x.refuse(r, err)
		}
	})
}

func (a *api) admit(x *exchange, r *http.Request) error {
	var err error
	if x.platform, err = a.Authenticator.Authenticate(r); err != nil {
		return refuse(RefusalHeader(x.Header(), err), err.Error())
	}
	if err := a.checkVersion(r); err != nil {
		return err
	}
	x.originating, err = originatingIdentity(r.Header[originatingHeader])
	return err
}

// RefusalHeader sets the headers of the answer to an unauthenticated request, and returns
// its status.
func RefusalHeader(h http.Header, err error) (status int) {
	r, ok := errors.AsType[*auth.Refusal](err)
	if !ok {
		return http.StatusUnauthorized
	}
	for _, challenge := range r.Challenges {
		h.Add("WWW-Authenticate", challenge)
	}
	setRetryAfter(h, r.RetryAfter)
	return r.Status
}

// setRetryAfter tells the client in whole seconds when to ask again, if there is a time.
func setRetryAfter(h http.Header, after time.Duration) {
	if after > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
}

// checkVersion accepts every minor version: their additions are optional (OSB, "API
// Version Header").
func (a *api) checkVersion(r *http.Request) error {
	version := r.Header.Get(versionHeader)
	if version == "" {
		if a.RequireVersion {
			return refuse(http.StatusPreconditionFailed, "the header X-Broker-API-Version is missing; this broker speaks 2.17")
		}
		return nil
	}
	major, minor, _ := strings.Cut(version, ".")
	if major != "2" || minor == "" || strings.Trim(minor, "0123456789") != "" {
		return refuse(http.StatusPreconditionFailed, "the header X-Broker-API-Version names a version that this broker does not speak; it speaks 2.17")
	}
	return nil
}

// requestIdentity returns the platform's identity of the request, as far as it fits a
// header and a log, or a new UUID.
func requestIdentity(r *http.Request) string {
	sent := r.Header.Get(requestIdentityHeader)
	if len(sent) > maxRequestIdentity {
		sent = sent[:maxRequestIdentity]
	}
	sent = strings.Map(func(c rune) rune {
		if unprintable(c) {
			return -1
		}
		return c
	}, sent)
	if sent = strings.TrimSpace(sent); sent != "" {
		return sent
	}
	return uuid.NewString()
}

// originatingIdentity decodes "PLATFORM BASE64(JSON object)" (OSB, "Originating
// Identity") into the form of broker.Caller; nil if nothing was sent.
func originatingIdentity(sent []string) (json.RawMessage, error) {
	const rule = "the header X-Broker-API-Originating-Identity must be the platform's name, a space and a JSON object in base64"
	if len(sent) == 0 {
		return nil, nil
	}
	platform, encoded, _ := strings.Cut(sent[0], " ")
	value, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || platform == "" || len(sent) > 1 || strings.ContainsFunc(platform, unprintable) {
		return nil, invalid(rule)
	}
	if err := checkObject(value); err != nil {
		return nil, invalid(rule + ": " + err.Error())
	}
	return json.Marshal(struct {
		Platform string          `json:"platform"`
		Value    json.RawMessage `json:"value"`
	}{platform, value})
}

func unprintable(c rune) bool { return c < ' ' || c > '~' }
