package nats

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/naming"
)

// keyring has the operator's key. The accounts' keys derive from the root and the instances' names,
// so that none has to be stored. The root needs the same protection as the operator's key.
type keyring struct {
	operator nkeys.KeyPair
	issuer   string // the operator's public key
	root     []byte
	prefix   string
}

func (c *Config) keyring() (*keyring, error) {
	seed, err := read("operator_seed", c.OperatorSeed, c.OperatorSeedFile)
	if err != nil {
		return nil, err
	}
	operator, err := operatorKey(seed)
	if err != nil {
		return nil, fmt.Errorf("operator_seed: %w", err)
	}
	issuer, err := operator.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("operator_seed: %w", err)
	}
	root, err := read("account_root", c.AccountRoot, c.AccountRootFile)
	if err != nil {
		return nil, err
	}
	if root.IsZero() {
		root = seed
	}
	if len(root.Reveal()) < minRoot {
		return nil, fmt.Errorf("account_root: must have %d characters at least", minRoot)
	}
	return &keyring{operator: operator, issuer: issuer, root: []byte(root.Reveal()), prefix: c.Prefix + "_"}, nil
}

// operatorKey reads an operator's seed. Its errors do not quote it.
func operatorKey(seed services.Secret) (nkeys.KeyPair, error) {
	pair, err := nkeys.FromSeed([]byte(seed.Reveal()))
	if err != nil {
		return nil, errors.New(`is not the seed of an operator's key: one line that begins with "SO"`)
	}
	if public, err := pair.PublicKey(); err != nil || !nkeys.IsValidPublicOperatorKey(public) {
		return nil, errors.New(`is the seed of another kind of key; an operator's begins with "SO"`)
	}
	return pair, nil
}

// checkCreds checks the text of a user's credentials file. Its errors do not quote it.
func checkCreds(creds services.Secret) error {
	text := []byte(creds.Reveal())
	token, err := jwt.ParseDecoratedJWT(text)
	if err == nil {
		_, err = jwt.DecodeUserClaims(token)
	}
	if err != nil {
		return errors.New("is not the text of a credentials file: it has no user's JWT")
	}
	if _, err := jwt.ParseDecoratedUserNKey(text); err != nil {
		return errors.New("is not the text of a credentials file: it has no user's seed")
	}
	return nil
}

// account is an instance's public key. The private one is not used: servers can be told to accept
// users of signing keys only.
func (k *keyring) account(instance string) (string, error) {
	pair, err := k.derive("account", instance)
	if err != nil {
		return "", err
	}
	return pair.PublicKey()
}

// copier is the account's signing key for the broker's own users, which copy the instance.
func (k *keyring) copier(instance string) (pair nkeys.KeyPair, public string, err error) {
	if pair, err = k.derive("copies", instance); err == nil {
		public, err = pair.PublicKey()
	}
	return pair, public, err
}

// derive makes one of an instance's keys.
func (k *keyring) derive(purpose, instance string) (nkeys.KeyPair, error) {
	raw, err := hkdf.Key(sha256.New, k.root, nil, "chandler/queue/nats/"+purpose+"/"+k.prefix+instance, services.SeedSize)
	if err != nil {
		return nil, doing("derive the account's key", err)
	}
	pair, err := nkeys.FromRawSeed(nkeys.PrefixByteAccount, raw)
	return pair, doing("derive the account's key", err)
}

// instanceOf returns the Instance.Name behind an account that this backend made.
func (k *keyring) instanceOf(account *jwt.AccountClaims) (string, bool) {
	name, ok := naming.NewRule(k.prefix + naming.Safe).Instance(account.Name)
	if !ok {
		return "", false
	}
	public, err := k.account(name)
	return name, err == nil && public == account.Subject
}

// bindingKeys are the signing key, whose users the account admits, and its one user's key.
type bindingKeys struct {
	signer, user             nkeys.KeyPair
	signerPublic, userPublic string
	seed                     string // the user's
}

func deriveBinding(seed *services.Seed) (k bindingKeys, err error) {
	if k.signer, k.signerPublic, err = deriveKey(seed, "signing key", nkeys.PrefixByteAccount); err != nil {
		return k, doing("derive the binding's keys", err)
	}
	if k.user, k.userPublic, err = deriveKey(seed, "user key", nkeys.PrefixByteUser); err != nil {
		return k, doing("derive the binding's keys", err)
	}
	text, err := k.user.Seed()
	k.seed = string(text)
	seed.Conceal(k.seed)
	return k, doing("derive the binding's keys", err)
}

func deriveKey(seed *services.Seed, label string, prefix nkeys.PrefixByte) (pair nkeys.KeyPair, public string, err error) {
	if pair, err = nkeys.FromRawSeed(prefix, seed.Bytes(label, services.SeedSize)); err == nil {
		public, err = pair.PublicKey()
	}
	return pair, public, err
}

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

// userToken is the JWT of a binding's user, whose rights are in the account under the signing key.
// Servers take a user without a time for revoked.
func userToken(account, name string, since time.Time, k bindingKeys) (string, error) {
	claims := jwt.NewUserClaims(k.userPublic)
	claims.SetScoped(true)
	claims.Name, claims.IssuerAccount = name, account
	claims.Type, claims.Version = jwt.UserClaim, version
	return sign(claims, since.Unix(), k.signer)
}
