package embedded

import (
	"context"
	"log/slog"
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
	*child
	options  PowerDNSOptions
	binaries powerDNSBinaries
	storage  powerDNSStorage
	port     int
	apiPort  int
	apiKey   string
}

// StartPowerDNS runs a PowerDNS server on the folder o.Dir until Stop, or until
// this process ends. The folder is filled at the first start; later starts go
// on with its data, its ports and its API key, also after a kill -9 of whoever
// used it before.
//
// Errors say what to install or to free.
func StartPowerDNS(ctx context.Context, o PowerDNSOptions) (*PowerDNS, error) {
	c, err := newChild("PowerDNS server", o.Dir, o.Logger)
	if err != nil {
		return nil, err
	}
	p := &PowerDNS{child: c, options: o}
	if err := p.open(ctx, childParts{program: p.program, ready: p.ready, serving: p.tell}, p.fill); err != nil {
		return nil, err
	}
	return p, nil
}

// Host is the address the server listens on: loopback.
func (p *PowerDNS) Host() string { return loopback }

// Port is where the server answers DNS, over UDP and TCP.
func (p *PowerDNS) Port() int { return p.port }

// APIURL is where the server's HTTP API is, without a path.
func (p *PowerDNS) APIURL() string { return "http://" + localAddress(p.apiPort) }

// APIKey opens the HTTP API. It is a secret.
func (p *PowerDNS) APIKey() string { return p.apiKey }

func (p *PowerDNS) program() program {
	return program{
		path: p.binaries.server, args: []string{"--config-dir=" + inherited}, folder: p.folder, log: powerDNSLog,
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL, // the data outlives it
	}
}

func (p *PowerDNS) tell(ctx context.Context) error {
	p.logger.InfoContext(ctx, "dns server started", "folder", p.folder.root, "port", p.port, "api_port", p.apiPort, "storage", string(p.storage))
	return nil
}
