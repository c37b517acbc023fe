package feed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// connectPatience bounds the connecting to one server, callPatience a request.
	connectPatience = 3 * time.Second
	callPatience    = 5 * time.Second
	// reconnectMost is the longest pause between attempts to connect again.
	reconnectMost = 30 * time.Second
	pingEvery     = 20 * time.Second
)

// links are this runtime's connections to message servers: one for all feeds that
// have the same credentials, since plans count connections.
type links struct {
	servers []string // that may be connected to, as in Options

	mu   sync.Mutex
	open map[string]*link
}

// link is a connection with everybody who uses it.
type link struct {
	links *links
	key   string
	users int // under links.mu

	mu        sync.Mutex // held while connecting
	conn      *nats.Conn
	js        jetstream.JetStream
	lost      chan struct{} // closed when the connection is lost
	reconnect chan struct{} // closed when it is there again

	refusalsMu sync.Mutex
	refusals   map[chan error]string // who waits for a refusal, and what of
}

// use connects, or joins those who are connected. Who got a link releases it.
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

// retain is one more user of a link that has one.
func (l *link) retain() {
	l.links.mu.Lock()
	defer l.links.mu.Unlock()
	l.users++
}

// release gives a link back; the last one closes it.
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

// connect connects where there is no connection, or the servers ended it for good
// because they do not know the user any more.
func (l *link) connect(c credentials) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && !l.conn.IsClosed() {
		return nil
	}
	l.lost, l.reconnect = make(chan struct{}), make(chan struct{})
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
		nats.ReconnectBufSize(-1), // what cannot be sent now fails now: an answer that comes late is worth nothing
		nats.DisconnectErrHandler(l.disconnected),
		nats.ReconnectHandler(l.reconnected),
		nats.ErrorHandler(l.refused),
	}
	if !l.links.anywhere() { // or a server would tell of others
		options = append(options, nats.IgnoreDiscoveredServers())
	}
	if c.CA != "" {
		options = append(options, trusting(c.CA))
	}
	return options
}

// trusting makes a connection trust an authority, and none but it.
func trusting(ca string) nats.Option {
	return func(o *nats.Options) error {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(ca)) {
			return errors.New("ca: is not a certificate in PEM")
		}
		return nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})(o)
	}
}

// reconnectDelay is how long to wait after so many rounds through all servers.
func reconnectDelay(rounds int) time.Duration {
	pause := min(reconnectMost, 100*time.Millisecond<<min(rounds, 10))
	return pause/2 + rand.N(pause/2) //nolint:gosec // not to come all at once is no secret
}

func (l *link) disconnected(*nats.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.lost:
	default:
		close(l.lost)
	}
}

func (l *link) reconnected(*nats.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.reconnect)
	l.lost, l.reconnect = make(chan struct{}), make(chan struct{})
}

// changes are closed when the connection is lost, what is asked for on it being lost
// with it, and when it is there again.
func (l *link) changes() (lost, back <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost, l.reconnect
}

// refused takes what a server refuses, of which the client does not tell the call
// that asked for it.
func (l *link) refused(_ *nats.Conn, _ *nats.Subscription, err error) {
	l.refusalsMu.Lock()
	defer l.refusalsMu.Unlock()
	for waiting, about := range l.refusals {
		if strings.Contains(err.Error(), about) {
			select {
			case waiting <- err:
			default: // it has one
			}
		}
	}
}

// during ends a call when a server refuses it: what it says of it holds about.
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
