package embedded

import (
	"cmp"
	"context"
)

const versityLog = "versitygw.log"

// VersityGWOptions are those of a Versity S3 Gateway.
type VersityGWOptions struct {
	// Binary is what BuildVersityGW returned.
	Binary string
	// Dir is the gateway's folder, as in Options. It contains the accounts' secrets in
	// plain text: this gateway is for development and tests.
	Dir string
	// Buckets is the folder of the buckets' folders if that is not to be in Dir. It must
	// exist where the gateway's user can reach it, and becomes that user's.
	Buckets string
	// Region is the region that requests are signed for; empty: us-east-1.
	Region string
	// TLS makes the gateway speak HTTPS; nil: plain HTTP.
	TLS *TLS
}

// VersityGW is a running Versity S3 Gateway over a folder. It is safe for concurrent use.
type VersityGW struct {
	child
	options VersityGWOptions
	binary  string
	secret  string
}

// StartVersityGW runs a gateway until Stop, or until this process ends.
func StartVersityGW(ctx context.Context, o VersityGWOptions) (*VersityGW, error) {
	g := &VersityGW{options: o}
	g.title = "S3 gateway"
	return startServer(ctx, o.Dir, g)
}

// Endpoint is the URL of the gateway's S3 API and of its administration.
func (g *VersityGW) Endpoint() string {
	scheme := "http"
	if g.options.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + g.Address()
}

// Region is the region that requests to the gateway are signed for.
func (g *VersityGW) Region() string { return cmp.Or(g.options.Region, versityRegion) }

// AccessKeyID is the root account, which has all permissions.
func (g *VersityGW) AccessKeyID() string { return versityRoot }

// SecretAccessKey is the root account's secret.
func (g *VersityGW) SecretAccessKey() string { return g.secret }

// program has the root account in the environment, because every user of the machine can read
// arguments.
func (g *VersityGW) program() program {
	return program{
		path: g.binary, args: g.arguments(), log: versityLog,
		env: []string{"ROOT_ACCESS_KEY=" + versityRoot, "ROOT_SECRET_KEY=" + g.secret},
	}
}

// ready says whether the gateway accepts connections.
func (g *VersityGW) ready(ctx context.Context, _ int) bool { return listens(ctx, g.Address()) }
