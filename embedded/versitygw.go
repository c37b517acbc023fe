package embedded

import (
	"context"
	"log/slog"
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
	*child
	options VersityGWOptions
	binary  string
	port    int
	secret  string
}

// StartVersityGW runs a gateway on the folder o.Dir until Stop, or until this
// process ends. The folder is filled at the first start; later starts go on
// with its data, its port and its root account, also after a kill -9 of whoever
// used it before.
func StartVersityGW(ctx context.Context, o VersityGWOptions) (*VersityGW, error) {
	c, err := newChild("S3 gateway", o.Dir, o.Logger)
	if err != nil {
		return nil, err
	}
	g := &VersityGW{child: c, options: o}
	if err := g.open(ctx, childParts{program: g.program, ready: g.ready, serving: g.tell}, g.fill); err != nil {
		return nil, err
	}
	return g, nil
}

// Endpoint is the URL of the gateway's S3 API and of its administration.
func (g *VersityGW) Endpoint() string {
	scheme := "http"
	if g.options.Certificate != nil {
		scheme = "https"
	}
	return scheme + "://" + localAddress(g.port)
}

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

func (g *VersityGW) program() program {
	return program{
		path: g.binary, args: g.arguments(), env: g.environment(), folder: g.folder, log: versityLog,
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL, // the data outlives it
	}
}

func (g *VersityGW) tell(ctx context.Context) error {
	g.logger.InfoContext(ctx, "s3 gateway started", "folder", g.folder.root, "port", g.port)
	return nil
}
