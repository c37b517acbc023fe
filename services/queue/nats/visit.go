package nats

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/chandler-broker/chandler/services"
)

// visit is a connection to an instance's account, to copy one stream. Its user exists only as a
// token that the broker signs for minutes: nothing has to be removed afterwards.
type visit struct {
	conn  *nats.Conn
	sub   *nats.Subscription
	inbox string
}

const (
	// minValid is how long the user of a visit is valid at least.
	minValid = 10 * time.Minute
	// minRate is the slowest copy that the token's validity allows for, in bytes a second.
	minRate = 1 << 20
	// silence is how long a server may take to read its disk for the next part of a copy.
	silence = time.Minute
)

// visit connects to an instance's account as a user that may publish to the subjects, and may
// subscribe to an inbox that nobody knows.
func (b *backend) visit(ctx context.Context, instance string, bytes uint64, publish ...string) (*visit, error) {
	inbox := "_CHANDLER." + rand.Text()
	valid := minValid + time.Duration(bytes/minRate)*time.Second //nolint:gosec // of bytes that exist
	user, err := b.keys.visitor(instance, inbox, valid, publish)
	if err != nil {
		return nil, err
	}
	conn, err := b.link.connect(ctx, user)
	if err != nil && strings.Contains(err.Error(), "maximum account active connections") {
		return nil, fmt.Errorf("the instance uses all connections of its plan, and a copy needs one: close one, or choose a plan with more: %w", err)
	}
	if err != nil {
		return nil, doing("connect to the instance's account", err)
	}
	// One subscription, because a plan may allow no second, and without wildcards, because
	// servers wait for the one that takes a snapshot.
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		conn.Close()
		return nil, doing("connect to the instance's account", err)
	}
	return &visit{conn, sub, inbox}, nil
}

// visitor signs a user of an instance's account.
func (k *keyring) visitor(instance, inbox string, valid time.Duration, publish []string) (nats.Option, error) {
	account, err := k.account(instance)
	if err != nil {
		return nil, err
	}
	signer, _, err := k.copier(instance)
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, doing("make a user for the copy", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, doing("make a user for the copy", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, doing("make a user for the copy", err)
	}
	claims := jwt.NewUserClaims(public)
	claims.IssuerAccount = account
	claims.Name, claims.Expires = k.prefix+"copy", time.Now().Add(valid).Unix()
	claims.Pub.Allow.Add(publish...)
	claims.Sub.Allow.Add(inbox)
	claims.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard}
	token, err := claims.Encode(signer)
	return nats.UserJWTAndSeed(token, string(seed)), doing("sign a user for the copy", err)
}

func (v *visit) close() { v.conn.Close() }

// send publishes a message with the inbox as its reply subject.
func (v *visit) send(subject string, data []byte) error {
	return doing("send to the server", v.conn.PublishRequest(subject, v.inbox, data))
}

// next waits for a message.
func (v *visit) next(ctx context.Context, wait time.Duration) (*nats.Msg, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m, err := v.sub.NextMsgWithContext(waiting)
	switch {
	case err == nil && m.Header.Get("Status") == "503":
		return nil, errors.New("no server answers for the stream; check that JetStream is enabled and has a leader")
	case err == nil:
		return m, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case waiting.Err() != nil:
		return nil, errSilent
	}
	return nil, fmt.Errorf("the server is away or closed the connection: %w", err)
}

// apiError is JetStream's refusal (NATS documentation, "JetStream wire API Reference").
type apiError struct {
	Code        int
	ErrCode     int `json:"err_code"`
	Description string
}

func (e *apiError) Error() string {
	return fmt.Sprintf("the server says: %s (%d)", e.Description, e.ErrCode)
}

// Error codes of JetStream.
const (
	noSuchStream   = 10059
	noStorage      = 10047
	noMemory       = 10028
	tooBigStreams  = 10122
	noPeers        = 10005
	streamExists   = 10058
	restoredExists = 10130
)

// refusal is the error of a JetStream server's answer.
func refusal(answer []byte) error {
	var a struct{ Error *apiError }
	if len(answer) == 0 {
		return nil
	}
	if json.Unmarshal(answer, &a) != nil {
		return errNonsense
	}
	if a.Error != nil {
		return a.Error
	}
	return nil
}

// rejected tells the user about a stream that the server refuses.
func rejected(stream string, err error) error {
	refused, ok := errors.AsType[*apiError](err)
	switch {
	case !ok, refused.ErrCode == noPeers, refused.ErrCode == streamExists, refused.ErrCode == restoredExists:
		return fmt.Errorf("stream %s: %w", stream, err)
	case refused.ErrCode == noStorage || refused.ErrCode == noMemory || refused.ErrCode == tooBigStreams:
		return services.Rejected("the plan has no room for stream %s of the copy: %s; choose a larger plan", stream, refused.Description)
	case refused.Code >= 400 && refused.Code < 500:
		return services.Rejected("the server refuses stream %s of the copy: %s", stream, refused.Description)
	}
	return fmt.Errorf("stream %s: %w", stream, err)
}
