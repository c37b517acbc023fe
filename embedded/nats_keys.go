package embedded

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

const (
	natsKeysFile     = "keys.json"
	natsOperatorFile = "operator.seed"
	natsCredsFile    = "system.creds"
)

// natsKeys are what servers and clients need of a NATS operator's keys. As NATS recommends, the
// identity keys have signed only signing keys, which sign everything else.
type natsKeys struct {
	Signer      string `json:"operator_signing"` // a seed
	User        string `json:"system_user"`      // a seed
	OperatorJWT string `json:"operator_jwt"`
	AccountJWT  string `json:"system_account_jwt"`
	UserJWT     string `json:"system_user_jwt"`
}

// readKeys reads the folder's keys, and makes them at the first start. They are one file, so
// that a crash leaves all of them or none. Each start writes the two files for clients.
func (n *NATS) readKeys() (err error) {
	content, err := n.folder.readFile(natsKeysFile)
	if err != nil {
		return err
	}
	if content == nil {
		keys, err := newNATSKeys()
		if err != nil {
			return fmt.Errorf("make the keys of the message servers: %w", err)
		}
		if content, err = json.Marshal(keys); err != nil {
			return err
		}
		if err := n.folder.writeFile(natsKeysFile, content); err != nil {
			return err
		}
	}
	err = json.Unmarshal(content, &n.keys)
	if err == nil {
		n.operator, err = jwt.DecodeOperatorClaims(n.keys.OperatorJWT)
	}
	if err == nil {
		n.account, err = jwt.DecodeAccountClaims(n.keys.AccountJWT)
	}
	creds, invalid := jwt.FormatUserConfig(n.keys.UserJWT, []byte(n.keys.User))
	if err != nil || invalid != nil {
		return fmt.Errorf("%s is damaged: restore it, or move the folder away to start without its data", n.folder.path(natsKeysFile))
	}
	return n.folder.writeFiles(map[string][]byte{natsCredsFile: creds, natsOperatorFile: []byte(n.keys.Signer)})
}

// natsPair is a key pair in the forms that JWTs need.
type natsPair struct {
	nkeys.KeyPair
	public, seed string
}

func newNATSPair(prefix nkeys.PrefixByte) (p natsPair, err error) {
	if p.KeyPair, err = nkeys.CreatePair(prefix); err != nil {
		return p, err
	}
	if p.public, err = p.PublicKey(); err != nil {
		return p, err
	}
	seed, err := p.Seed()
	p.seed = string(seed)
	return p, err
}

func newNATSKeys() (k natsKeys, err error) {
	var pairs [5]natsPair
	for i, prefix := range []nkeys.PrefixByte{
		nkeys.PrefixByteOperator, nkeys.PrefixByteOperator, nkeys.PrefixByteAccount, nkeys.PrefixByteAccount, nkeys.PrefixByteUser,
	} {
		if pairs[i], err = newNATSPair(prefix); err != nil {
			return k, err
		}
	}
	identity, signer, account, accountSigner, user := pairs[0], pairs[1], pairs[2], pairs[3], pairs[4]
	k.Signer, k.User = signer.seed, user.seed
	operator := jwt.NewOperatorClaims(identity.public)
	operator.Name, operator.StrictSigningKeyUsage = natsCluster, true
	operator.SigningKeys.Add(signer.public)
	if k.OperatorJWT, err = operator.Encode(identity); err != nil {
		return k, err
	}
	system := jwt.NewAccountClaims(account.public)
	system.Name = "SYS"
	system.SigningKeys.Add(accountSigner.public)
	if k.AccountJWT, err = system.Encode(signer); err != nil {
		return k, err
	}
	claims := jwt.NewUserClaims(user.public)
	claims.Name, claims.IssuerAccount = "chandler", account.public
	k.UserJWT, err = claims.Encode(accountSigner)
	return k, err
}
