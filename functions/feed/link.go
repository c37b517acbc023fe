package feed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	connectPatience = 3 * time.Second // limits a connection attempt to one server
	callPatience    = 5 * time.Second // limits a request
	reconnectMost   = 30 * time.Second
	pingEvery       = 20 * time.Second
)

// links are connections shared by feeds with the same credentials, because plans limit connections.
type links struct {
	servers []string // Options.Servers

	mu   sync.Mutex
	open map[string]*link
}

type link struct {
	links *links
	key   string
	users int // under links.mu

	mu        sync.Mutex // held while connecting
	conn      *nats.Conn
	js        jetstream.JetStream
	connected context.Context // ends when the connection is lost
	lose      context.CancelFunc
	restored  chan struct{} // closed when the connection is restored

	refusalsMu sync.Mutex
	refusals   map[chan error]string // of calls in progress, with what they are about
}

// use returns a connected link, which the caller must release.
func (l *links) use(c credentials) (*link, error) {
	if err := l.allowed(c); err != nil {
		return nil, err
	}
	key := identify(strings.Join(c.Servers, ","), c.JWT, c.Seed, c.CA)
	l.mu.Lock()
	one := l.open[key]
	if one == nil {
		one = &link{links: l, key: key, refusals: map[chan error]string{}}
		l.open[key] = one
	}
	one.users++
	l.mu.Unlock()
	if err := one.connect(c); err != nil {
		one.release()
		return nil, err
	}
	return one, nil
}

func (l *link) retain() {
	l.links.mu.Lock()
	defer l.links.mu.Unlock()
	l.users++
}

// release removes a user; the last one closes the link.
func (l *link) release() {
	l.links.mu.Lock()
	l.users--
	last := l.users == 0
	if last {
		delete(l.links.open, l.key)
	}
	l.links.mu.Unlock()
	if !last {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.Close()
	}
}

// connect connects if the connection was never made or was ended permanently.
func (l *link) connect(c credentials) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && !l.conn.IsClosed() {
		return nil
	}
	l.reset()
	conn, err := nats.Connect(strings.Join(c.Servers, ","), l.options(c)...)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(callPatience))
	if err != nil {
		conn.Close()
		return err
	}
	l.conn, l.js = conn, js
	return nil
}

func (l *link) options(c credentials) []nats.Option {
	options := []nats.Option{
		nats.Name("chandler functions"),
		nats.UserJWTAndSeed(c.JWT, c.Seed),
		nats.Timeout(connectPatience),
		nats.PingInterval(pingEvery),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(-1), // fail immediately without a connection: a late answer is useless
		nats.DisconnectErrHandler(l.onDisconnect),
		nats.ReconnectHandler(l.onReconnect),
		nats.ErrorHandler(l.onRefusal),
	}
	if !l.links.anywhere() { // a server may announce others
		options = append(options, nats.IgnoreDiscoveredServers())
	}
	if c.CA != "" {
		options = append(options, trustOnly(c.CA))
	}
	return options
}

// trustOnly makes a connection trust only the given authority.
func trustOnly(ca string) nats.Option {
	return func(o *nats.Options) error {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(ca)) {
			return errors.New("ca: must be a certificate in PEM")
		}
		return nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})(o)
	}
}

func reconnectDelay(rounds int) time.Duration {
	pause := min(reconnectMost, 100*time.Millisecond<<min(rounds, 10))
	return pause/2 + rand.N(pause/2) //nolint:gosec // jitter is no secret
}

func (l *link) onDisconnect(*nats.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose()
}

func (l *link) onReconnect(*nats.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.restored)
	l.reset()
}

// reset prepares connected and restored for a new connection.
func (l *link) reset() {
	l.connected, l.lose = context.WithCancel(context.Background())
	l.restored = make(chan struct{})
}

// changes returns a context that ends with the connection, and a channel for its restoration.
func (l *link) changes() (connected context.Context, restored <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connected, l.restored
}

// onRefusal passes a server's refusal to the calls that it concerns, which the client does not.
func (l *link) onRefusal(_ *nats.Conn, _ *nats.Subscription, err error) {
	l.refusalsMu.Lock()
	defer l.refusalsMu.Unlock()
	for waiting, about := range l.refusals {
		if strings.Contains(err.Error(), about) {
			select {
			case waiting <- err:
			default: // it has a refusal already
			}
		}
	}
}

// during runs a call, and ends it when a server refuses it with an error that contains about.
func (l *link) during(ctx context.Context, about string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	refusals := make(chan error, 1)
	l.refusalsMu.Lock()
	l.refusals[refusals] = about
	l.refusalsMu.Unlock()
	defer func() {
		l.refusalsMu.Lock()
		delete(l.refusals, refusals)
		l.refusalsMu.Unlock()
	}()
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	select {
	case err := <-done:
		return err
	case refusal := <-refusals:
		cancel()
		return errors.Join(refusal, <-done)
	}
}

var (
	errStopped = errors.New("the feed was stopped or changed")
	// errForeign means that a feed cannot use the existing consumer of its name.
	errForeign = errors.New("the consumer is not a pull consumer with explicit acknowledgement")
)

// maxTrouble limits the text of a server, in bytes.
const maxTrouble = 300

// explain tells a feed's owner why it does not run, without secrets or a foreign server's words.
func explain(err error) string {
	cause := causeOf(err)
	return strings.ToValidUTF8(cause[:min(len(cause), maxTrouble)], "")
}

func causeOf(err error) string {
	var api *jetstream.APIError
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal.Message
	case errors.Is(err, nats.ErrPermissionViolation):
		return "the credentials do not allow it: " + permission(err)
	case isAny(err, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrMaxAccountConnectionsExceeded):
		return "the servers refuse the credentials; is the queue's binding still there, and does its plan allow another connection?"
	case isAny(err, jetstream.ErrStreamNotFound, nats.ErrStreamNotFound):
		return "the stream does not exist"
	case isAny(err, jetstream.ErrConsumerDeleted, jetstream.ErrConsumerNotFound):
		return "the consumer was deleted"
	case errors.Is(err, errForeign):
		return err.Error()
	case errors.As(err, &api):
		return "JetStream refuses: " + api.Description
	case isAny(err, jetstream.ErrNoStreamResponse, nats.ErrNoResponders):
		return "no server answers for the stream; was it deleted, or is its server down?"
	case unreachable(err):
		return "the servers do not answer"
	}
	return "the servers cannot be used"
}

func permission(err error) string {
	_, what, _ := strings.Cut(err.Error(), "ermissions Violation for ")
	what, _, _ = strings.Cut(what, "\n")
	return what
}

// unreachable says whether the servers cannot be reached at the moment.
func unreachable(err error) bool {
	return isAny(err,
		nats.ErrNoServers, nats.ErrTimeout, nats.ErrConnectionClosed, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrReconnectBufExceeded, nats.ErrStaleConnection, nats.ErrNoResponders, jetstream.ErrNoHeartbeat,
		jetstream.ErrConnectionClosed, jetstream.ErrServerShutdown, jetstream.ErrConsumerLeadershipChanged,
		jetstream.ErrNoStreamResponse, context.DeadlineExceeded)
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
