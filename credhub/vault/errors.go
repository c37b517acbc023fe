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

// errForeign is for answers that Vault does not give.
var errForeign = errors.New("the reply did not come from Vault's KV engine")

// refusal is Vault's answer to a request that it refuses.
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

// isAbsent says that the engine answered and has nothing there.
func isAbsent(err error) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && refused.status == http.StatusNotFound && len(refused.messages) == 0
}

func isConflict(err error) bool   { return says(err, "check-and-set parameter did not match") }
func wantsVersion(err error) bool { return says(err, "check-and-set parameter required") }

func says(err error, words string) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && strings.Contains(strings.Join(refused.messages, "\n"), words)
}

// plain makes one line of an error of Vault's client. ctx is the request's: if it has
// ended, its error is the result.
func plain(ctx context.Context, address string, err error) error {
	if err == nil {
		return nil
	}
	if answered, ok := errors.AsType[*api.ResponseError](err); ok {
		r := &refusal{status: answered.StatusCode}
		for _, m := range answered.Errors {
			if !answered.RawError { // a proxy's page may be long and contain anything
				r.messages = append(r.messages, strings.Join(strings.Fields(m), " "))
			}
		}
		return r
	}
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if failed, ok := errors.AsType[*url.Error](err); ok { // our own errors name the path
		err = failed.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("Vault at %s does not answer in time", address) // the client's time, not the caller's
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return errForeign
	}
	return fmt.Errorf("Vault at %s cannot be reached: %w", address, err)
}
