package embedded

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

const (
	natsKeysFile     = "keys.json"
	natsOperatorFile = "operator.seed"
	natsCredsFile    = "system.creds"
)

// natsKeys are the seeds of a NATS operator. As NATS recommends, the identity keys sign only
// signing keys, which sign everything else.
type natsKeys struct {
	Operator      string `json:"operator"`
	Signer        string `json:"operator_signing"`
	Account       string `json:"system_account"`
	AccountSigner string `json:"system_account_signing"`
	User          string `json:"system_user"`
	OperatorJWT   string `json:"operator_jwt"`
	AccountJWT    string `json:"system_account_jwt"`
	UserJWT       string `json:"system_user_jwt"`
}

// readKeys reads the folder's keys, and makes them at the first start. They are one file, so
// that a crash leaves all of them or none. Each start writes the two files for clients.
func (n *NATS) readKeys() (natsKeys, error) {
	var keys natsKeys
	content, err := n.folder.readFile(natsKeysFile)
	if err != nil {
		return keys, err
	}
	if content == nil {
		if keys, err = newNATSKeys(); err != nil {
			return keys, fmt.Errorf("make the keys of the message servers: %w", err)
		}
		if content, err = json.Marshal(keys); err != nil {
			return keys, err
		}
		if err := n.folder.writeFile(natsKeysFile, content); err != nil {
			return keys, err
		}
	}
	if err := json.Unmarshal(content, &keys); err != nil {
		return keys, fmt.Errorf("%s is damaged: restore it, or move the folder away to start without its data", n.folder.path(natsKeysFile))
	}
	creds, err := jwt.FormatUserConfig(keys.UserJWT, []byte(keys.User))
	if err != nil {
		return keys, fmt.Errorf("make the credentials of the system account: %w", err)
	}
	return keys, n.folder.writeFiles(map[string][]byte{natsCredsFile: creds, natsOperatorFile: []byte(keys.Signer)})
}

func newNATSKeys() (k natsKeys, err error) {
	var pairs [5]nkeys.KeyPair
	var public [5]string
	for i, prefix := range []nkeys.PrefixByte{
		nkeys.PrefixByteOperator, nkeys.PrefixByteOperator, nkeys.PrefixByteAccount, nkeys.PrefixByteAccount, nkeys.PrefixByteUser,
	} {
		if pairs[i], err = nkeys.CreatePair(prefix); err != nil {
			return k, err
		}
		if public[i], err = pairs[i].PublicKey(); err != nil {
			return k, err
		}
		seed, err := pairs[i].Seed()
		if err != nil {
			return k, err
		}
		*[]*string{&k.Operator, &k.Signer, &k.Account, &k.AccountSigner, &k.User}[i] = string(seed)
	}
	operator := jwt.NewOperatorClaims(public[0])
	operator.Name, operator.StrictSigningKeyUsage = natsCluster, true
	operator.SigningKeys.Add(public[1])
	if k.OperatorJWT, err = operator.Encode(pairs[0]); err != nil {
		return k, err
	}
	account := jwt.NewAccountClaims(public[2])
	account.Name = "SYS"
	account.SigningKeys.Add(public[3])
	if k.AccountJWT, err = account.Encode(pairs[1]); err != nil {
		return k, err
	}
	user := jwt.NewUserClaims(public[4])
	user.Name, user.IssuerAccount = "chandler", public[2]
	k.UserJWT, err = user.Encode(pairs[3])
	return k, err
}

// operatorClaims are the operators that the servers trust.
func (k natsKeys) operatorClaims() []*jwt.OperatorClaims {
	claims, err := jwt.DecodeOperatorClaims(k.OperatorJWT)
	if err != nil {
		return nil // NewServer says that an operator is missing
	}
	return []*jwt.OperatorClaims{claims}
}

// systemAccount is the public key of the account that administrators use.
func (k natsKeys) systemAccount() string {
	claims, err := jwt.DecodeAccountClaims(k.AccountJWT)
	if err != nil {
		return "" // NewServer says that a system account is missing
	}
	return claims.Subject
}

// preload gives a resolver the system account, which gives it all others.
func (k natsKeys) preload(resolver *natsserver.DirAccResolver) error {
	if err := resolver.Store(k.systemAccount(), k.AccountJWT); err != nil {
		return fmt.Errorf("store the system account: %w", err)
	}
	return nil
}
