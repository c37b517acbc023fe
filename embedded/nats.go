package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
)

const (
	natsLog        = "nats.log"
	natsCluster    = "chandler"
	natsSync       = 2 * time.Second
	natsAccounts   = 100000
	natsStartLimit = 2 * time.Minute
)

// NATSOptions are those of NATS servers.
type NATSOptions struct {
	// Dir is the servers' folder, as in Options. It contains the operator's key: these
	// servers are for development and tests.
	Dir string
	// Nodes is the number of servers in the cluster, which must be the same at each start
	// on a folder; 0 and 1: no cluster.
	Nodes int
	// MaxStore limits what JetStream writes to disk on each server, in bytes; 0: three
	// quarters of the free space.
	MaxStore int64
}

// NATS is a NATS server or a cluster of them, in operator mode, with JetStream and a
// resolver that accepts accounts over the wire. Unlike the other servers of this package,
// which are programs, they run in this process, as its user. It is safe for concurrent use.
type NATS struct {
	folder   *folder
	keys     natsKeys
	operator *jwt.OperatorClaims // the operator that the servers trust
	account  *jwt.AccountClaims  // the system account, which administrators use
	log      *os.File

	mu    sync.Mutex
	nodes []*natsNode
}

// StartNATS runs NATS until Stop, or until this process ends. Errors say which port to free.
func StartNATS(ctx context.Context, o NATSOptions) (*NATS, error) {
	f, err := openFolder(o.Dir, true)
	if err != nil {
		return nil, err
	}
	n := &NATS{folder: f}
	if err := n.open(ctx, o); err != nil {
		return nil, errors.Join(err, n.Stop(ctx))
	}
	return n, nil
}

func (n *NATS) open(ctx context.Context, o NATSOptions) (err error) {
	if err := n.readKeys(); err != nil {
		return err
	}
	if n.log, err = os.OpenFile(n.folder.path(natsLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("open the log of the message servers: %w", err)
	}
	port, err := n.folder.storedPort(ctx, portFile, tryTCP)
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

// URL is the clients' URL: those of all servers, separated by commas.
func (n *NATS) URL() string { return strings.Join(n.URLs(), ",") }

// URLs are the servers' URLs.
func (n *NATS) URLs() []string { return n.urls(func(address string) string { return address }) }

func (n *NATS) urls(connect func(address string) string) []string {
	var urls []string
	for _, node := range n.nodes {
		urls = append(urls, "nats://"+connect(localAddress(node.options.Port)))
	}
	return urls
}

// OperatorSeedFile contains the operator's signing key, which makes and removes accounts.
func (n *NATS) OperatorSeedFile() string { return n.folder.path(natsOperatorFile) }

// SystemCredsFile contains the credentials of a user of the system account, in the form
// that NATS clients read.
func (n *NATS) SystemCredsFile() string { return n.folder.path(natsCredsFile) }

// StopNode ends server i, counted from 0. Its data remains.
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

// Stop ends the servers and releases the folder. A second Stop does nothing.
func (n *NATS) Stop(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, node := range n.nodes {
		node.stop()
	}
	if n.log != nil {
		_ = n.log.Close() // fails at a second Stop
	}
	n.folder.close()
	return nil
}

// Access implements Running.
func (n *NATS) Access(connect func(string) string) (variables, secrets map[string]string) {
	return map[string]string{
		"NATS_URL":                strings.Join(n.urls(connect), ","),
		"NATS_OPERATOR_SEED_FILE": n.OperatorSeedFile(), "NATS_SYSTEM_CREDS_FILE": n.SystemCredsFile(),
	}, map[string]string{"NATS's operator's seed": n.keys.Signer, "NATS's system user": n.keys.User}
}

// Holds implements Running.
func (n *NATS) Holds(context.Context) ([]string, error) { return natsFiles(n.folder.root) }

// natsFiles lists the first server's files of accounts and streams, without those of the
// system account.
func natsFiles(dir string) ([]string, error) {
	system, err := systemAccount(filepath.Join(dir, natsCredsFile))
	if err != nil {
		return nil, err
	}
	names, node := []string{}, filepath.Join(dir, "n1")
	err = filepath.WalkDir(node, func(path string, entry fs.DirEntry, err error) error {
		// A checksum of a stream's description without that description remains of a
		// deleted stream.
		if errors.Is(err, fs.ErrNotExist) || err == nil && (entry.IsDir() || entry.Name() == "meta.sum" || strings.Contains(path, system)) {
			return nil
		}
		if name, _ := filepath.Rel(node, path); err == nil && !strings.Contains(name, "$SYS") {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

// systemAccount is the account of the user whose credentials the file contains.
func systemAccount(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token, err := jwt.ParseDecoratedJWT(text)
	if err != nil {
		return "", fmt.Errorf("%s: contains no user's token", file) // err might quote it
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", fmt.Errorf("%s: contains an invalid token", file)
	}
	return claims.IssuerAccount, nil
}
