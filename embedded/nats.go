package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

const (
	natsLog        = "nats.log"
	natsCluster    = "chandler"
	natsSync       = 2 * time.Second
	natsAccounts   = 100000
	natsStartLimit = 2 * time.Minute
)

// NATSOptions says how NATS servers are to be run.
type NATSOptions struct {
	// Dir is the servers' folder; it is made where it does not exist, and
	// belongs to them alone. It holds the operator's key: these servers are
	// for development and tests.
	Dir string
	// Port is where the first server listens on loopback. 0: the port of the
	// last start on this folder, a free one at the first.
	Port int
	// Nodes is how many servers form the cluster; 0 and 1: one by itself. A
	// folder keeps the number that it was filled with.
	Nodes int
	// MaxStore bounds what JetStream writes to disk, in bytes, on each
	// server; 0: three quarters of what is free.
	MaxStore int64
	// Logger may be nil.
	Logger *slog.Logger
}

// NATS is one NATS server or a cluster of them, in operator mode, with
// JetStream and a resolver that accepts accounts over the wire. Unlike the other
// servers of this package they run in this process, as this process's user:
// NATS is a library too. All its methods are safe for concurrent use.
type NATS struct {
	folder *folder
	keys   natsKeys
	logger *slog.Logger
	log    *os.File

	mu    sync.Mutex
	nodes []*natsNode
}

// StartNATS runs NATS on the folder o.Dir until Stop, or until this process
// ends. The folder is filled at the first start; later starts go on with its
// data, its keys and its port, also after a kill -9 of whoever used it before.
//
// Errors say what to free.
func StartNATS(ctx context.Context, o NATSOptions) (*NATS, error) {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f, err := openOwnFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	n := &NATS{folder: f, logger: logger}
	if err := n.open(ctx, o); err != nil {
		return nil, errors.Join(err, n.Stop(ctx))
	}
	logger.InfoContext(ctx, "message servers started", "folder", f.root, "url", n.URL(), "version", natsserver.VERSION)
	return n, nil
}

// openOwnFolder is openFolder for servers that run in this process: the folder
// stays this process's user's.
func openOwnFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the data folder: %w", err)
	}
	f := &folder{root: root}
	if err := f.take(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (n *NATS) open(ctx context.Context, o NATSOptions) (err error) {
	if n.keys, err = n.readKeys(); err != nil {
		return err
	}
	if n.log, err = os.OpenFile(n.folder.path(natsLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("open the log of the message servers: %w", err)
	}
	port, err := n.folder.keptPort(ctx, portFile, o.Port, tryTCP)
	if err != nil {
		return err
	}
	if n.nodes, err = n.layOut(ctx, port, max(o.Nodes, 1), o.MaxStore); err != nil {
		return err
	}
	for _, node := range n.nodes {
		if err := node.start(); err != nil {
			return err
		}
	}
	return n.waitReady(ctx)
}

// URL is where clients connect to: all servers, separated by commas.
func (n *NATS) URL() string { return strings.Join(n.URLs(), ",") }

// URLs are the servers' addresses, one for each.
func (n *NATS) URLs() []string {
	urls := make([]string, len(n.nodes))
	for i, node := range n.nodes {
		urls[i] = "nats://" + localAddress(node.options.Port)
	}
	return urls
}

// OperatorSeedFile is the file that holds the operator's signing key, which
// makes and removes accounts.
func (n *NATS) OperatorSeedFile() string { return n.folder.path(natsOperatorFile) }

// SystemCredsFile is the file that holds the credentials of a user of the system
// account, in the form that NATS clients read.
func (n *NATS) SystemCredsFile() string { return n.folder.path(natsCredsFile) }

// StopNode ends one server, counted from 0, and leaves its data.
func (n *NATS) StopNode(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[i].stop()
}

// StartNode starts a server that StopNode ended, with its data and address.
func (n *NATS) StartNode(ctx context.Context, i int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.nodes[i].start(); err != nil {
		return err
	}
	return n.waitReady(ctx)
}

// Stop ends the servers and gives the folder back. Stopping twice is no error.
func (n *NATS) Stop(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, node := range n.nodes {
		node.stop()
	}
	if n.log != nil {
		_ = n.log.Close() // a second time at a second Stop
	}
	n.folder.close()
	return nil
}
