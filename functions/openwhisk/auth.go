package openwhisk

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/state"
)

// credentials are what somebody calls with: a key (id and hash of it), a token of
// an activation on behalf of a binding, or of a namespace itself.
type credentials struct {
	id                 uuid.UUID
	hash               []byte
	namespace, binding string
}

// identity is who calls, and what its namespace may.
type identity struct {
	namespace string
	binding   string // empty: the namespace itself
	role      string
	limits    state.Limits
	mounts    []state.Mount
}

// subject is who an activation's record says has asked for it.
func (i identity) subject() string {
	if i.binding == "" {
		return i.namespace
	}
	return i.binding
}

func (i identity) mayChange() bool { return i.role == state.ReadWrite }

// of are the credentials of the namespace itself: for what the runtime does for it.
func of(namespace string) credentials { return credentials{namespace: namespace} }

// read takes credentials from a request: Basic authentication (RFC 7617) with a
// namespace's "uuid:key" or with an activation's token. Errors are
// errNoCredentials and errBadCredentials.
func (a *API) read(r *http.Request) (credentials, error) {
	if r.Header.Get("Authorization") == "" {
		return credentials{}, errNoCredentials
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return credentials{}, errBadCredentials
	}
	id, err := uuid.Parse(user)
	switch {
	case err != nil:
		return credentials{}, errBadCredentials
	case len(user) == activationIDLength:
		return a.readToken(user, password)
	case len(user) != uuidLength:
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

// token is what an activation may call the API with until the deadline, as
// "activationId:token" in __OW_API_KEY. It is good for no longer than the binding
// that asked for the activation.
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

// identify asks the database who calls. The error is errBadCredentials where it
// knows nobody.
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
	if err := json.Unmarshal(row.Limits, &who.limits); err != nil {
		return identity{}, fmt.Errorf("limits of namespace %s: %w", row.Namespace, err)
	}
	if err := json.Unmarshal(row.Mounts, &who.mounts); err != nil {
		return identity{}, fmt.Errorf("mounts of namespace %s: %w", row.Namespace, err)
	}
	return who, nil
}
