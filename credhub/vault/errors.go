package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/vault/api"
)

// errNotVaults is for answers that Vault does not give.
var errNotVaults = errors.New("the answer is not what Vault's KV engine says")

// refusal is Vault's answer when it does not do what it was asked.
type refusal struct {
	status   int
	messages []string
}

// Error explains the answer in Vault's own words, which never quote a value. It leaves
// out a body that did not come from Vault.
func (r *refusal) Error() string {
	words := cmp.Or(strings.Join(r.messages, "; "), http.StatusText(r.status))
	switch {
	case r.status == http.StatusServiceUnavailable && strings.Contains(words, "sealed"):
		return "Vault is sealed: unseal it (HTTP 503)"
	case r.status == http.StatusForbidden:
		return "Vault refuses the token: it has expired or was revoked, or its policy does not allow this (HTTP 403: " + words + ")"
	case r.status == http.StatusNotFound && strings.Contains(words, "no handler for route"):
		return "Vault has no engine mounted there (HTTP 404: " + words + ")"
	}
	return fmt.Sprintf("Vault answers HTTP %d: %s", r.status, words)
}

func isRefused(err error, status int) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && refused.status == status
}

func hasMessage(err error, words string) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && strings.Contains(strings.Join(refused.messages, "\n"), words)
}

// plain makes one line of an error of Vault's client. ctx is what the request
// was made with: its end counts as such, whatever it broke off.
func plain(ctx context.Context, address string, err error) error {
	if err == nil {
		return nil
	}
	if answered, ok := errors.AsType[*api.ResponseError](err); ok {
		r := &refusal{status: answered.StatusCode}
		for _, m := range answered.Errors {
			if !answered.RawError { // a proxy's page, which may be long and hold anything
				r.messages = append(r.messages, strings.Join(strings.Fields(m), " "))
			}
		}
		return r
	}
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	// The URL that url.Error adds says no more than the path that our own
	// errors name.
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("Vault at %s does not answer in time", address) // the client's time, not the caller's
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNotVaults
	}
	return fmt.Errorf("Vault at %s cannot be reached: %w", address, err)
}
