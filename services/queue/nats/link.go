package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chandler-broker/chandler/services"
)

const (
	// connectTimeout bounds one attempt to reach one server.
	connectTimeout = 2 * time.Second
	// patience is how long servers have to answer, much less than a call has.
	patience = 4 * time.Second
	// quiet is how long the last server may take to answer after the others did.
	quiet = 500 * time.Millisecond
)

// link is the broker's connection to the system account, opened when it is needed.
type link struct {
	servers string
	creds   nats.Option
	options []nats.Option
	mutex   chan struct{} // guards conn
	conn    *nats.Conn
}

func newLink(servers []address, creds services.Secret, ca string) *link {
	user := nats.UserCredentialBytes([]byte(creds.Reveal()))
	return &link{servers: urls(servers), creds: user, mutex: make(chan struct{}, 1), options: []nats.Option{
		nats.Name("chandler"),
		nats.NoReconnect(),             // the engine retries
		nats.IgnoreDiscoveredServers(), // only those that the operator names are known to be reachable
		nats.Timeout(connectTimeout),
		nats.PingInterval(20 * time.Second),
		// Without it errors go to stderr. Their calls fail anyway.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		trustCA(ca),
	}}
}

// get returns a live connection.
func (l *link) get(ctx context.Context) (*nats.Conn, error) {
	select {
	case l.mutex <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to the server: %w", ctx.Err())
	}
	defer func() { <-l.mutex }()
	if l.conn != nil && l.conn.IsConnected() {
		return l.conn, nil
	}
	conn, err := l.connect(ctx, l.creds)
	if errors.Is(err, nats.ErrAuthorization) {
		return nil, fmt.Errorf("connect to the server: it refuses system_creds; issue new ones for a user of its system account: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	l.conn = conn
	return conn, nil
}

// connect opens a connection as a user.
func (l *link) connect(ctx context.Context, user nats.Option) (*nats.Conn, error) {
	return nats.Connect(l.servers, append(slices.Clip(l.options), user, nats.SetCustomDialer(dialer{ctx}))...)
}

// dialer ends its attempts when a context ends.
type dialer struct{ ctx context.Context }

// Dial implements nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: connectTimeout}).DialContext(d.ctx, network, address)
}

func (l *link) close() {
	l.mutex <- struct{}{}
	l.conn.Close() // does nothing without a connection
	<-l.mutex
}

var (
	errSilent = errors.New("no answer in time")
	errNoSuch = errors.New("no server answers such requests: are system_creds those of the system account, and JetStream and a resolver of type full configured?")
	errEnough = errors.New("enough") // from a taker: all answers are there
)

// ask sends a request and hands each answer to take, until that returns errEnough or another
// error. It returns errSilent if nothing came for patience, or for between after an answer.
func (l *link) ask(ctx context.Context, subject string, request []byte, between time.Duration, take func(answer []byte) error) error {
	conn, err := l.get(ctx)
	if err != nil {
		return err
	}
	inbox, err := conn.SubscribeSync(conn.NewInbox())
	if err != nil {
		return fmt.Errorf("the server is away or closed the connection: %w", err)
	}
	defer func() { _ = inbox.Unsubscribe() }() // fails where the connection was lost
	if err := conn.PublishRequest(subject, inbox.Subject, request); err != nil {
		return fmt.Errorf("the server is away or closed the connection: %w", err)
	}
	for wait := patience; ; wait = between {
		answer, err := next(ctx, conn, inbox, wait)
		if err != nil {
			return err
		}
		if err := take(answer.Data); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// next waits for one answer.
func next(ctx context.Context, conn *nats.Conn, inbox *nats.Subscription, wait time.Duration) (*nats.Msg, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answer, err := inbox.NextMsgWithContext(waiting)
	switch {
	case errors.Is(err, nats.ErrNoResponders),
		err == nil && len(answer.Data) == 0 && answer.Header.Get("Status") == "503": // no responders
		return nil, errNoSuch
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case waiting.Err() != nil:
		if conn.FlushTimeout(quiet) != nil { // its other end is gone: the next call opens a new one
			conn.Close()
		}
		return nil, errSilent
	}
	return nil, fmt.Errorf("the server is away or closed the connection: %w", err)
}
