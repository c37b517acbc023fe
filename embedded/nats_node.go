package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// natsNode is one server of a NATS.
type natsNode struct {
	options natsserver.Options
	logger  natsLogger
	account string // the token of the system account
	folder  string
	server  *natsserver.Server // nil: not running
	began   time.Time          // the last start
}

// natsLimits limit what counts against no account: the ids of messages, which stay in memory
// as long as the server looks for duplicates, and uncommitted batches, which can therefore
// have only one message.
var natsLimits = natsserver.JSLimitOpts{
	Duplicates:   2 * time.Minute, // what clients request for key-value buckets
	MaxBatchSize: 1, MaxBatchInflightPerStream: 1, MaxBatchTimeout: time.Second,
}

const (
	// natsMaxPending limits the memory for a client that does not read.
	natsMaxPending = 16 << 20
	// natsRequests and natsQuestions limit the queues of requests to JetStream's API
	// (10,000 by default): an account that floods it delays the responses to everyone,
	// administrators included.
	natsRequests, natsQuestions = 500, 100
)

// layOut configures the servers. Each has its own name and folder, by which the cluster knows
// it.
func (n *NATS) layOut(ctx context.Context, port, count int, maxStore int64) ([]*natsNode, error) {
	ports, routes := []int{port}, make([]*url.URL, count)
	for len(ports) < 2*count {
		next, err := freePort(ctx, n.folder.reserving("server "+strconv.Itoa(len(ports)), tryTCP))
		if err != nil {
			return nil, err
		}
		ports = append(ports, next)
	}
	for i := range routes {
		routes[i] = &url.URL{Scheme: "nats-route", Host: localAddress(ports[count+i])}
	}
	nodes := make([]*natsNode, count)
	for i := range nodes {
		name := "n" + strconv.Itoa(i+1)
		nodes[i] = &natsNode{
			account: n.keys.AccountJWT, folder: n.folder.path(name),
			logger: natsLogger{logger: slog.New(slog.NewTextHandler(n.log, nil)).With("server", name)},
			options: natsserver.Options{
				ServerName: name, Host: loopback, Port: ports[i],
				NoSigs: true, DisableShortFirstPing: true,
				JetStream: true, StoreDir: n.folder.path(name), JetStreamMaxStore: maxStore,
				JetStreamLimits: natsLimits, MaxPending: natsMaxPending,
				JetStreamRequestQueueLimit: natsRequests, JetStreamInfoQueueLimit: natsQuestions,
				TrustedOperators: []*jwt.OperatorClaims{n.operator},
				SystemAccount:    n.account.Subject,
			},
		}
		if count > 1 {
			nodes[i].options.Cluster = natsserver.ClusterOpts{Name: natsCluster, Host: loopback, Port: ports[count+i]}
			nodes[i].options.Routes = routes
		}
	}
	return nodes, nil
}

// start starts the server, which accepts clients a moment later.
func (n *natsNode) start() error {
	if n.server != nil {
		return nil
	}
	resolver, err := natsserver.NewDirAccResolver(n.folder+"/accounts", natsAccounts, natsSync, natsserver.HardDelete)
	if err != nil {
		return fmt.Errorf("open the folder of accounts: %w", err)
	}
	// The system account, which gives the resolver all others.
	if err := resolver.Store(n.options.SystemAccount, n.account); err != nil {
		return fmt.Errorf("store the system account: %w", err)
	}
	options := n.options // the server writes into them
	options.AccountResolver = resolver
	server, err := natsserver.NewServer(&options)
	if err != nil {
		return fmt.Errorf("start the message server %s: %w", options.ServerName, err)
	}
	server.SetLoggerV2(n.logger, false, false, false)
	n.began = time.Now()
	server.Start()
	n.server = server
	return nil
}

func (n *natsNode) stop() {
	if n.server == nil {
		return
	}
	n.server.Shutdown()
	n.server.WaitForShutdown()
	n.server = nil
}

// natsLogger writes a server's messages to a file. NATS's own logger ends the process at
// Fatalf.
type natsLogger struct{ logger *slog.Logger }

func (l natsLogger) say(level slog.Level, format string, args []any) {
	l.logger.Log(context.Background(), level, "nats", "text", fmt.Sprintf(format, args...))
}

func (l natsLogger) Noticef(format string, args ...any) { l.say(slog.LevelInfo, format, args) }
func (l natsLogger) Warnf(format string, args ...any)   { l.say(slog.LevelWarn, format, args) }
func (l natsLogger) Errorf(format string, args ...any)  { l.say(slog.LevelError, format, args) }
func (l natsLogger) Fatalf(format string, args ...any)  { l.say(slog.LevelError, format, args) }
func (l natsLogger) Debugf(format string, args ...any)  { l.say(slog.LevelDebug, format, args) }
func (l natsLogger) Tracef(format string, args ...any)  { l.say(slog.LevelDebug, format, args) }
