package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// bareSystem is what administers accounts: a user of the system account, and the
// operator's key.
type bareSystem struct {
	conn     *nats.Conn
	operator nkeys.KeyPair
	accounts map[string]*jwt.AccountClaims // by the name that they are measured under
}

func bareNATS(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	seed, err := os.ReadFile(d.Value("NATS_OPERATOR_SEED_FILE"))
	check(b, err)
	operator, err := nkeys.FromSeed(seed)
	check(b, err)
	conn, err := nats.Connect(d.Value("NATS_URL"), nats.UserCredentials(d.Value("NATS_SYSTEM_CREDS_FILE")))
	check(b, err)
	b.Cleanup(conn.Close)
	s := bareSystem{conn, operator, map[string]*jwt.AccountClaims{}}
	return map[string]func(context.Context, string) error{
		"provision": s.add, "bind": s.admit, "unbind": s.expel, "deprovision": s.remove,
	}
}

// add makes an account with room for streams.
func (s bareSystem) add(ctx context.Context, name string) error {
	key, err := nkeys.CreateAccount()
	if err != nil {
		return err
	}
	public, err := key.PublicKey()
	if err != nil {
		return err
	}
	claims := jwt.NewAccountClaims(public)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: 1 << 20, Streams: 1}
	s.accounts[name] = claims
	return s.push(ctx, claims)
}

// admit makes the key that signs one binding's user.
func (s bareSystem) admit(ctx context.Context, name string) error {
	key, err := nkeys.CreateAccount()
	if err != nil {
		return err
	}
	public, err := key.PublicKey()
	if err != nil {
		return err
	}
	s.accounts[name].SigningKeys.Add(public)
	return s.push(ctx, s.accounts[name])
}

func (s bareSystem) expel(ctx context.Context, name string) error {
	claims := s.accounts[name]
	claims.SigningKeys.Remove(claims.SigningKeys.Keys()...)
	return s.push(ctx, claims)
}

func (s bareSystem) remove(ctx context.Context, name string) error {
	issuer, err := s.operator.PublicKey()
	if err != nil {
		return err
	}
	order := jwt.NewGenericClaims(issuer)
	order.Data["accounts"] = []string{s.accounts[name].Subject}
	token, err := order.Encode(s.operator)
	if err != nil {
		return err
	}
	return s.request(ctx, "$SYS.REQ.CLAIMS.DELETE", token)
}

func (s bareSystem) push(ctx context.Context, claims *jwt.AccountClaims) error {
	token, err := claims.Encode(s.operator)
	if err != nil {
		return err
	}
	return s.request(ctx, "$SYS.REQ.CLAIMS.UPDATE", token)
}

func (s bareSystem) request(ctx context.Context, subject, token string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := s.conn.RequestWithContext(ctx, subject, []byte(token))
	if err != nil {
		return err
	}
	var refused struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &refused); err != nil {
		return err
	}
	if refused.Error != nil {
		return fmt.Errorf("%s: %s", subject, refused.Error.Description)
	}
	return nil
}
