package openstack

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// Failure is a service's answer other than success.
type Failure struct {
	// Service is the service's name, such as "Keystone".
	Service string
	// Status is the HTTP status.
	Status int
	// Type is the service's word for what is wrong, such as "over_quota" (Designate) or
	// "itemNotFound" (Manila, Trove); Keystone's is the status' text. Empty if unknown.
	Type string
	// Message is the service's sentence, in one short line.
	Message string
	// Request is the service's identity of the request, for its log.
	Request string
}

func (f *Failure) Error() string {
	text := fmt.Sprintf("%s answers %d: %s", f.Service, f.Status, cmp.Or(f.Message, http.StatusText(f.Status), "no text"))
	if f.Request != "" {
		text += " (" + f.Request + ")"
	}
	return text
}

// AsFailure returns a service's answer as the cause of an error. It finds what gophercloud's
// errors contain but do not unwrap.
func AsFailure(err error) (*Failure, bool) {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f, true
	}
	if e, ok := errors.AsType[*gophercloud.ErrUnableToReauthenticate](err); ok {
		return AsFailure(e.ErrReauth)
	}
	if e, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err); ok {
		f := &Failure{Service: e.ResponseHeader.Get(serviceHeader), Status: e.Actual, Request: requestID(e.ResponseHeader)}
		f.Type, f.Message = readFailure(e.Body)
		if f.Message == "" && f.Status < 300 {
			f.Message = "which is not the success that the API promises: is there a proxy in between"
		}
		return f, true
	}
	return nil, false
}

// Status returns the HTTP status of a service's failure; 0 for other errors.
func Status(err error) int {
	if f, ok := AsFailure(err); ok {
		return f.Status
	}
	return 0
}

// Absent reports whether a service knows no such resource.
func Absent(err error) bool { return Status(err) == http.StatusNotFound }

// Conflict reports whether a service has a resource of this name already.
func Conflict(err error) bool { return Status(err) == http.StatusConflict }

// UnlessAbsent is err, or nil if it says that what was asked for does not exist.
func UnlessAbsent(err error) error {
	if Absent(err) {
		return nil
	}
	return err
}

// Explain adds to an error what the broker was doing and what the operator can do. The text
// contains no URL, header or body of a request.
func Explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*services.NotYetError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*refusal](err); ok {
		return fmt.Errorf("%s: %w", doing, err)
	}
	err = plain(err)
	keystone := func(status int) func(error) bool {
		return func(err error) bool {
			f, ok := AsFailure(err)
			return ok && f.Status == status && f.Service == keystoneName
		}
	}
	status := func(status int) func(error) bool {
		return func(err error) bool { return Status(err) == status }
	}
	return services.Explain(doing, err, []services.Advice{
		{About: httpapi.IsOutage, Text: "the cloud's API is away"},
		{About: keystone(http.StatusUnauthorized), Text: "Keystone refuses the broker's account: check username, password and domain, and that the account is enabled"},
		{About: keystone(http.StatusForbidden), Text: "the broker's account needs the broker's role on its domain, and Keystone the policy file that gives rights to this role"},
		{About: status(http.StatusUnauthorized), Text: "the service refuses a token that Keystone has just issued: check its section keystone_authtoken"},
		{About: status(http.StatusForbidden), Text: "the service's policy does not allow it to a member of the project"},
	})
}

// plain is the cause of an error of net/http or gophercloud, which quote URLs and bodies.
func plain(err error) error {
	switch e := err.(type) { //nolint:errorlint // only the outermost, to keep what others have added
	case *url.Error:
		return plain(e.Err)
	case *gophercloud.ErrErrorAfterReauthentication:
		return plain(e.ErrOriginal)
	case *gophercloud.ErrUnableToReauthenticate:
		return plain(e.ErrReauth)
	case gophercloud.ErrUnexpectedResponseCode:
		f, _ := AsFailure(e)
		return f
	}
	return err
}

const (
	// serviceHeader names the service in an answer that gophercloud reads.
	serviceHeader  = "X-Chandler-Service"
	maxMessageSize = 300
)

// requestID is an answer's identity in the service's log.
func requestID(h http.Header) string { return line(h.Get("X-Openstack-Request-Id"), 60) }

// readFailure reads the forms of an error's body: Designate's {type, message, errors}, and an
// object under one key {code, message, title}: "error" in Keystone, the error's type in others.
func readFailure(body []byte) (kind, message string) {
	var flat struct {
		Type, Message string
		Errors        json.RawMessage
	}
	if json.Unmarshal(body, &flat) == nil && flat.Type != "" {
		return line(flat.Type, 60), line(cmp.Or(flat.Message, details(flat.Errors)), maxMessageSize)
	}
	var nested map[string]struct{ Message, Title string }
	if json.Unmarshal(body, &nested) != nil || len(nested) != 1 {
		return "", "" // HTML of a proxy, or Python's traceback
	}
	kind = slices.Collect(maps.Keys(nested))[0]
	inner := nested[kind]
	if kind == "error" {
		kind = inner.Title
	}
	return line(kind, 60), line(inner.Message, maxMessageSize)
}

// details are the messages of Designate's list of faults.
func details(raw json.RawMessage) string {
	var list struct {
		Errors []struct {
			Path    json.RawMessage
			Message string
		}
	}
	_ = json.Unmarshal(raw, &list) // other forms have no details
	var texts []string
	for _, e := range list.Errors {
		texts = append(texts, e.Message)
	}
	return strings.Join(texts, "; ")
}

// line is a text in one line of at most so many bytes.
func line(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if len(text) > most {
		text = text[:most]
	}
	return strings.TrimSpace(strings.ToValidUTF8(text, ""))
}
