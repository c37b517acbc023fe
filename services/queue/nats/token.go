package nats

import (
	"crypto/sha512"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

const (
	header  = `{"typ":"JWT","alg":"ed25519-nkey"}`
	version = 2
)

// sign makes the JWT of claims, as jwt.Claims.Encode does, with another time and
// identifier. Encode stamps the current second, from which the identifier derives. Both
// are wrong here:
//
//   - A user's JWT must be the same at each call.
//   - Of two JWTs of one account, a server that missed one keeps the later one, and
//     takes two with one identifier for the same. Two changes in one second would leave
//     a revoked binding alive on that server. So each JWT of an account is later than
//     the one before, and its identifier is a hash of all of it.
func sign(claims jwt.Claims, issuedAt int64, signer nkeys.KeyPair) (string, error) {
	common := claims.Claims()
	issuer, err := signer.PublicKey()
	if err != nil {
		return "", doing("sign a token", err)
	}
	common.Issuer, common.IssuedAt, common.ID = issuer, issuedAt, ""
	unnamed, err := json.Marshal(claims)
	if err != nil {
		return "", doing("sign a token", err)
	}
	hash := sha512.Sum512_256(unnamed)
	common.ID = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(hash[:])
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", doing("sign a token", err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := signer.Sign([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), doing("sign a token", err)
}

// userToken is the JWT of a binding's user. What the user may do is in the account, under
// the key that signed this. Servers take a user without a time for revoked.
func userToken(account, name string, since time.Time, k bindingKeys) (string, error) {
	claims := jwt.NewUserClaims(k.userPublic)
	claims.SetScoped(true)
	claims.Name, claims.IssuerAccount = name, account
	claims.Type, claims.Version = jwt.UserClaim, version
	return sign(claims, since.Unix(), k.signer)
}
