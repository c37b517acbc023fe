package openwhisk

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/state"
)

// credentials are a key, or a token on behalf of a binding or of a namespace itself.
type credentials struct {
	id                 uuid.UUID
	hash               []byte
	namespace, binding string
}

// identity is a caller, and what its namespace may do.
type identity struct {
	namespace string
	binding   string // empty for the namespace itself
	role      string
	limits    state.Limits
	mounts    []state.Mount
}

// subject names the caller in the record of an activation.
func (i identity) subject() string { return cmp.Or(i.binding, i.namespace) }

func (i identity) mayChange() bool { return i.role == state.ReadWrite }

// namespaceCredentials are the credentials of the runtime itself on behalf of a namespace.
func namespaceCredentials(namespace string) credentials { return credentials{namespace: namespace} }

// read reads credentials from a request: Basic authentication (RFC 7617) with a "uuid:key"
// or with an activation's token. Errors are errNoCredentials and errBadCredentials.
func (a *API) read(r *http.Request) (credentials, error) {
	if r.Header.Get("Authorization") == "" {
		return credentials{}, errNoCredentials
	}
	user, password, _ := r.BasicAuth()
	id, err := uuid.Parse(user)
	switch {
	case err == nil && len(user) == activationIDLength:
		return a.readToken(user, password)
	case err != nil || len(user) != uuidLength:
		return credentials{}, errBadCredentials
	}
	hash := sha256.Sum256([]byte(password))
	return credentials{id: id, hash: hash[:]}, nil
}

const (
	uuidLength         = 36 // RFC 9562, section 4
	activationIDLength = 32

	tokenUse = "activation token"
)

// token is the activation's key until the deadline, "activationId:token" in __OW_API_KEY.
// It becomes invalid when the binding that called the activation is deleted.
func (a *API) token(activation string, who identity, deadline time.Time) string {
	claims := strings.Join([]string{who.namespace, who.binding, strconv.FormatInt(deadline.UnixMilli(), 36)}, ".")
	mac := a.Sealer.Sign(tokenUse, activation+"."+claims)
	return activation + ":" + claims + "." + base64.RawURLEncoding.EncodeToString(mac)
}

func (a *API) readToken(activation, token string) (credentials, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 4 {
		return credentials{}, errBadCredentials
	}
	mac, err := base64.RawURLEncoding.DecodeString(parts[3])
	deadline, err2 := strconv.ParseInt(parts[2], 36, 64)
	message := activation + "." + strings.Join(parts[:3], ".")
	if err != nil || err2 != nil || !a.Sealer.Verify(tokenUse, message, mac) || time.Now().UnixMilli() > deadline {
		return credentials{}, errBadCredentials
	}
	return credentials{namespace: parts[0], binding: parts[1]}, nil
}

// identify finds the caller in the database; the error for an unknown one is errBadCredentials.
func (a *API) identify(ctx context.Context, c credentials) (identity, error) {
	row, err := a.Store.Caller(ctx, a.Store.Pool, state.CallerParams{Uuid: c.id, Hash: c.hash, Binding: c.binding, Namespace: c.namespace})
	if state.NotFound(err) {
		return identity{}, errBadCredentials
	}
	if err != nil {
		return identity{}, fmt.Errorf("authenticate: %w", err)
	}
	return newIdentity(row)
}

func newIdentity(row state.CallerRow) (identity, error) {
	who := identity{namespace: row.Namespace, binding: row.Binding, role: row.Role}
	if err := errors.Join(json.Unmarshal(row.Limits, &who.limits), json.Unmarshal(row.Mounts, &who.mounts)); err != nil {
		return identity{}, fmt.Errorf("limits and mounts of namespace %s: %w", row.Namespace, err)
	}
	return who, nil
}
