package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"syscall"
)

const versityLog = "versitygw.log"

// VersityGWOptions says how a Versity S3 Gateway is to be run.
type VersityGWOptions struct {
	// Binary is what BuildVersityGW returned.
	Binary string
	// Dir is the gateway's folder; it is made where it does not exist, and
	// belongs to the gateway alone. It holds the accounts' secrets as they
	// are: this gateway is for development and tests.
	Dir string
	// Buckets is the folder that holds the buckets, one folder each, where it
	// is not to be in Dir. It must exist, where the gateway's user can reach
	// it, and becomes that user's.
	Buckets string
	// Port is where the gateway listens on loopback. 0: the port of the last
	// start on this folder, a free one at the first.
	Port int
	// Region is what requests are signed for; empty: us-east-1.
	Region string
	// Certificate and Key, in PEM, make the gateway speak HTTPS. The
	// certificate must be good for 127.0.0.1.
	Certificate, Key []byte
	// Logger may be nil.
	Logger *slog.Logger
}

// VersityGW is a running Versity S3 Gateway over a folder. All its methods are
// safe for concurrent use.
type VersityGW struct {
	folder  *folder
	options VersityGWOptions
	program string
	port    int
	secret  string
	logger  *slog.Logger
	done    chan error

	mu     sync.Mutex // serialises the start, Restart, Kill and Stop
	server *process
	closed bool
}

// StartVersityGW runs a gateway on the folder o.Dir until Stop, or until this
// process ends. The folder is filled at the first start; later starts go on
// with its data, its port and its root account, also after a kill -9 of whoever
// used it before.
func StartVersityGW(ctx context.Context, o VersityGWOptions) (*VersityGW, error) {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	g := &VersityGW{folder: f, options: o, logger: logger, done: make(chan error, 1)}
	if err := g.open(ctx); err != nil {
		f.close()
		return nil, err
	}
	return g, nil
}

func (g *VersityGW) open(ctx context.Context) (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.program, err = g.folder.placeProgram(g.options.Binary, versityProgram); err != nil {
		return err
	}
	if err := g.initialise(); err != nil {
		return err
	}
	if g.port, err = g.choosePort(ctx); err != nil {
		return err
	}
	return g.run(ctx)
}

// Endpoint is the URL of the gateway's S3 API and of its administration.
func (g *VersityGW) Endpoint() string {
	scheme := "http"
	if g.options.Certificate != nil {
		scheme = "https"
	}
	return scheme + "://" + g.address()
}

func (g *VersityGW) address() string { return net.JoinHostPort(loopback, strconv.Itoa(g.port)) }

// Region is what requests to the gateway are signed for.
func (g *VersityGW) Region() string {
	if g.options.Region != "" {
		return g.options.Region
	}
	return versityRegion
}

// AccessKeyID is the root account, which may do everything.
func (g *VersityGW) AccessKeyID() string { return versityRoot }

// SecretAccessKey is the root account's secret.
func (g *VersityGW) SecretAccessKey() string { return g.secret }

// Done receives an error when the gateway ends without Stop, Kill or Restart,
// and is closed by Stop.
func (g *VersityGW) Done() <-chan error { return g.done }

// Restart stops the gateway, whatever state it is in, and starts it again with
// the same data on the same port.
func (g *VersityGW) Restart(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return fmt.Errorf("the S3 gateway in %s was stopped for good", g.folder.root)
	}
	if err := g.halt(ctx); err != nil {
		return err
	}
	return g.run(ctx)
}

// Kill ends the gateway by kill -9, as a crash would. Restart recovers it.
func (g *VersityGW) Kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if server := g.server; server != nil {
		g.server = nil
		server.kill()
	}
}

// Stop ends the gateway and gives the folder back. When ctx ends first the
// gateway is killed, which the error says. Stopping twice is no error.
func (g *VersityGW) Stop(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	defer g.folder.close()
	err := g.halt(ctx)
	close(g.done)
	return err
}

// halt stops the gateway without telling Done.
func (g *VersityGW) halt(ctx context.Context) error {
	server := g.server
	if server == nil { // it has ended already
		return nil
	}
	g.server = nil
	return server.stop(ctx)
}

// run starts the gateway and waits until it answers.
func (g *VersityGW) run(ctx context.Context) error {
	server, err := startProcess(program{
		path: g.program, args: g.arguments(), env: g.environment(), folder: g.folder, log: versityLog,
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL, // the data outlives it
	})
	if err != nil {
		return err
	}
	if err := g.waitReady(ctx, server); err != nil {
		server.kill()
		return err
	}
	g.server = server
	go g.watch(server)
	g.logger.InfoContext(ctx, "s3 gateway started", "folder", g.folder.root, "port", g.port)
	return nil
}

func (g *VersityGW) watch(server *process) {
	<-server.done
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.server != server {
		return // it was asked to end
	}
	g.server = nil
	select {
	case g.done <- server.failure():
	default: // the last end was not yet heard of
	}
}
