package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// connectTimeout bounds one attempt to reach one server.
	connectTimeout = 2 * time.Second
	// patience is how long servers have to answer. A server that hangs is
	// told from one that is slow well before the call's own deadline.
	patience = 4 * time.Second
	// quiet is how long the last server may take to answer after the others did.
	quiet = 500 * time.Millisecond
)

// link is the broker's connection to the system account, opened when it is needed, and
// again after it was lost.
type link struct {
	options nats.Options
	mutex   chan struct{} // guards conn
	conn    *nats.Conn
}

func newLink(servers []address, u user, ca string) (*link, error) {
	options := nats.GetDefaultOptions()
	for _, set := range []nats.Option{
		nats.UserJWTAndSeed(u.jwt, u.seed.Reveal()),
		nats.Name("chandler"),
		nats.NoReconnect(),             // the engine retries
		nats.IgnoreDiscoveredServers(), // only those that the operator names are known to be reachable
		nats.Timeout(connectTimeout),
		nats.PingInterval(20 * time.Second),
		// Without it errors go to stderr. Their calls fail anyway.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		trusting(ca),
	} {
		if err := set(&options); err != nil {
			return nil, err
		}
	}
	options.Servers = urls(servers)
	return &link{options: options, mutex: make(chan struct{}, 1)}, nil
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
	options := l.options
	options.CustomDialer = dialer{ctx}
	conn, err := options.Connect()
	if errors.Is(err, nats.ErrAuthorization) {
		return nil, fmt.Errorf("connect to the server: it refuses system_creds; issue new ones for a user of its system account: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	l.conn = conn
	return conn, nil
}

// dialer ends its attempts when a context ends.
type dialer struct{ ctx context.Context }

// Dial implements nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: connectTimeout}).DialContext(d.ctx, network, address)
}

func (l *link) close() error {
	l.mutex <- struct{}{}
	defer func() { <-l.mutex }()
	if l.conn != nil {
		l.conn.Close()
	}
	return nil
}

var (
	errSilent = errors.New("no answer in time")
	errNoSuch = errors.New("no server answers such requests: are system_creds those of the system account, and JetStream and a resolver of type full configured?")
	errEnough = errors.New("enough") // from a taker: all answers are there
)

// nobodyListens is the status of an answer that says so.
const nobodyListens = "503"

// ask sends a request and hands each answer to take, until that returns errEnough or
// another error, or until there was no answer for wait(); then it returns errSilent.
func (l *link) ask(ctx context.Context, subject string, request []byte, wait func() time.Duration, take func(answer []byte) error) error {
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
	for {
		answer, err := next(ctx, conn, inbox, wait())
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
		err == nil && len(answer.Data) == 0 && answer.Header.Get("Status") == nobodyListens:
		return nil, errNoSuch
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case waiting.Err() != nil:
		probe(conn)
		return nil, errSilent
	}
	return nil, fmt.Errorf("the server is away or closed the connection: %w", err)
}

// probe closes a connection whose other end is gone silently, so that the next call opens
// a new one.
func probe(conn *nats.Conn) {
	if conn.FlushTimeout(quiet) != nil {
		conn.Close()
	}
}
