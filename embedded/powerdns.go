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

const powerDNSLog = "powerdns.log"

// PowerDNSOptions says how a PowerDNS authoritative server is to be run.
type PowerDNSOptions struct {
	// Dir is the server's folder; it is made where it does not exist, and
	// belongs to the server alone.
	Dir string
	// Port is where the server answers DNS, over UDP and TCP, and APIPort where
	// it listens for its HTTP API. 0: the port of the last start on this
	// folder, a free one at the first.
	Port, APIPort int
	// NoSync gives up what a power failure would destroy, for speed: for
	// tests. A kill -9 still loses nothing.
	NoSync bool
	// Logger may be nil.
	Logger *slog.Logger
}

// PowerDNS is a running PowerDNS authoritative server with its HTTP API, DNS
// UPDATE allowed where a zone allows it, and zone transfer only where a zone
// allows it. All its methods are safe for concurrent use.
type PowerDNS struct {
	folder   *folder
	options  PowerDNSOptions
	binaries powerDNSBinaries
	storage  powerDNSStorage
	port     int
	apiPort  int
	apiKey   string
	logger   *slog.Logger
	done     chan error

	mu     sync.Mutex // serialises the start, Restart, Kill and Stop
	server *process
	closed bool
}

// StartPowerDNS runs a PowerDNS server on the folder o.Dir until Stop, or until
// this process ends. The folder is filled at the first start; later starts go
// on with its data, its ports and its API key, also after a kill -9 of whoever
// used it before.
//
// Errors say what to install or to free.
func StartPowerDNS(ctx context.Context, o PowerDNSOptions) (*PowerDNS, error) {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	p := &PowerDNS{folder: f, options: o, logger: logger, done: make(chan error, 1)}
	if err := p.open(ctx); err != nil {
		f.close()
		return nil, err
	}
	return p, nil
}

func (p *PowerDNS) open(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.initialise(ctx); err != nil {
		return err
	}
	var err error
	if p.port, err = p.choosePort(ctx, portFile, p.options.Port); err != nil {
		return err
	}
	if p.apiPort, err = p.choosePort(ctx, apiPortFile, p.options.APIPort); err != nil {
		return err
	}
	if err := p.configure(); err != nil {
		return err
	}
	return p.run(ctx)
}

// Host is the address the server listens on: loopback.
func (p *PowerDNS) Host() string { return loopback }

// Port is where the server answers DNS, over UDP and TCP.
func (p *PowerDNS) Port() int { return p.port }

// APIURL is where the server's HTTP API is, without a path.
func (p *PowerDNS) APIURL() string { return "http://" + p.apiAddress() }

func (p *PowerDNS) apiAddress() string { return net.JoinHostPort(loopback, strconv.Itoa(p.apiPort)) }

// APIKey opens the HTTP API. It is a secret.
func (p *PowerDNS) APIKey() string { return p.apiKey }

// Done receives an error when the server ends without Stop, Kill or Restart,
// and is closed by Stop.
func (p *PowerDNS) Done() <-chan error { return p.done }

// Restart stops the server, whatever state it is in, and starts it again with
// the same data on the same ports.
func (p *PowerDNS) Restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("the PowerDNS server in %s was stopped for good", p.folder.root)
	}
	if err := p.halt(ctx); err != nil {
		return err
	}
	return p.run(ctx)
}

// Kill ends the server by kill -9, as a crash would. Restart recovers it.
func (p *PowerDNS) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if server := p.server; server != nil {
		p.server = nil
		server.kill()
	}
}

// Stop ends the server and gives the folder back. When ctx ends first the
// server is killed, which the error says. Stopping twice is no error.
func (p *PowerDNS) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	defer p.folder.close()
	err := p.halt(ctx)
	close(p.done)
	return err
}

// halt stops the server without telling Done.
func (p *PowerDNS) halt(ctx context.Context) error {
	server := p.server
	if server == nil { // it has ended already
		return nil
	}
	p.server = nil
	return server.stop(ctx)
}

// run starts the server and waits until it answers.
func (p *PowerDNS) run(ctx context.Context) error {
	server, err := startProcess(program{
		path: p.binaries.server, args: []string{"--config-dir=" + inherited}, folder: p.folder, log: powerDNSLog,
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL, // the data outlives it
	})
	if err != nil {
		return err
	}
	if err := p.waitReady(ctx, server); err != nil {
		server.kill()
		return err
	}
	p.server = server
	go p.watch(server)
	p.logger.InfoContext(ctx, "dns server started", "folder", p.folder.root, "port", p.port, "api_port", p.apiPort, "storage", string(p.storage))
	return nil
}

func (p *PowerDNS) watch(server *process) {
	<-server.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != server {
		return // it was asked to end
	}
	p.server = nil
	select {
	case p.done <- server.failure():
	default: // the last end was not yet heard of
	}
}
