package nats

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/naming"
)

// keyring has the operator's key and every account's. An account's key derives from the
// root and the instance's name, so that no key has to be stored, and none can be lost.
// The root needs no protection beyond that of the operator's key, which controls all
// accounts. A binding's keys derive from the binding's seed.
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

// user is what it takes to connect.
type user struct {
	jwt  string
	seed services.Secret
}

// systemUser reads the text of a credentials file. Its errors do not quote it.
func systemUser(creds services.Secret) (user, error) {
	text := []byte(creds.Reveal())
	token, err := jwt.ParseDecoratedJWT(text)
	if err == nil {
		_, err = jwt.DecodeUserClaims(token)
	}
	if err != nil {
		return user{}, errors.New("is not the text of a credentials file: it has no user's JWT")
	}
	pair, err := jwt.ParseDecoratedUserNKey(text)
	if err != nil {
		return user{}, errors.New("is not the text of a credentials file: it has no user's seed")
	}
	seed, err := pair.Seed()
	if err != nil {
		return user{}, errors.New("is not the text of a credentials file: its seed cannot be read")
	}
	return user{token, services.NewSecret(string(seed))}, nil
}

// account is the public key of an instance's account. The private one is not used: each
// binding has a key of its own to sign its user.
func (k *keyring) account(instance string) (string, error) {
	raw, err := hkdf.Key(sha256.New, k.root, nil, "chandler/queue/nats/account/"+k.prefix+instance, services.SeedSize)
	if err != nil {
		return "", doing("derive the account's key", err)
	}
	pair, err := nkeys.FromRawSeed(nkeys.PrefixByteAccount, raw)
	if err != nil {
		return "", doing("derive the account's key", err)
	}
	return pair.PublicKey()
}

var safeName = naming.NewRule(naming.Safe)

// instanceOf returns the Instance.Name behind an account that this backend made.
func (k *keyring) instanceOf(account *jwt.AccountClaims) (string, bool) {
	name, prefixed := strings.CutPrefix(account.Name, k.prefix)
	if _, safe := safeName.Instance(name); !prefixed || !safe {
		return "", false
	}
	public, err := k.account(name)
	return name, err == nil && public == account.Subject
}

// bindingKeys are a binding's two keys: the signing key, whose users the account admits as
// long as the binding exists, and its one user's.
type bindingKeys struct {
	signer, user             nkeys.KeyPair
	signerPublic, userPublic string
	seed                     string // the user's
}

func deriveBinding(seed *services.Seed) (k bindingKeys, err error) {
	if k.signer, k.signerPublic, err = derived(seed, "signing key", nkeys.PrefixByteAccount); err != nil {
		return k, doing("derive the binding's keys", err)
	}
	if k.user, k.userPublic, err = derived(seed, "user key", nkeys.PrefixByteUser); err != nil {
		return k, doing("derive the binding's keys", err)
	}
	text, err := k.user.Seed()
	k.seed = string(text)
	seed.Conceal(k.seed)
	return k, doing("derive the binding's keys", err)
}

func derived(seed *services.Seed, label string, prefix nkeys.PrefixByte) (pair nkeys.KeyPair, public string, err error) {
	if pair, err = nkeys.FromRawSeed(prefix, seed.Bytes(label, services.SeedSize)); err == nil {
		public, err = pair.PublicKey()
	}
	return pair, public, err
}
