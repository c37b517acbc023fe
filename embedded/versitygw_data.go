package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"
)

const (
	versityProgram    = "versitygwserver"
	versityAccounts   = "accounts"
	versitySecretFile = "root-secret"
	versityCertFile   = "certificate.pem"
	versityKeyFile    = "key.pem"
	versityRoot       = "root"
	versityRegion     = "us-east-1"
)

// initialise makes what the gateway needs in its folder, as far as it is not
// there.
func (g *VersityGW) initialise() error {
	for _, name := range []string{dataFolder, versityAccounts} {
		if err := g.folder.makeDir(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Again: a crash may have come between making it and giving it away.
		if err := g.folder.own(g.folder.path(name), 0o700); err != nil {
			return err
		}
	}
	if g.options.Buckets != "" {
		if err := g.folder.own(g.options.Buckets, 0o700); err != nil {
			return err
		}
	}
	if g.options.Certificate != nil {
		if err := g.folder.writeFile(versityCertFile, g.options.Certificate); err != nil {
			return err
		}
		if err := g.folder.writeFile(versityKeyFile, g.options.Key); err != nil {
			return err
		}
	}
	return g.readSecret()
}

// readSecret reads the root account's secret, and makes one at the first start.
func (g *VersityGW) readSecret() error {
	kept, err := g.folder.readFile(versitySecretFile)
	if err != nil {
		return err
	}
	if g.secret = string(kept); g.secret != "" {
		return nil
	}
	g.secret = rand.Text()
	return g.folder.writeFile(versitySecretFile, []byte(g.secret))
}

func (g *VersityGW) arguments() []string {
	buckets := g.options.Buckets
	if buckets == "" {
		buckets = g.folder.childPath(dataFolder)
	}
	args := []string{
		"-listen", g.address(), "-region", g.Region(),
		"-data", buckets, "-accounts", g.folder.childPath(versityAccounts),
	}
	if g.options.Certificate != nil {
		args = append(args, "-tls-cert-file", g.folder.childPath(versityCertFile), "-tls-key-file", g.folder.childPath(versityKeyFile))
	}
	return args
}

// environment holds the root account: arguments are there for every user of
// the machine to read.
func (g *VersityGW) environment() []string {
	return []string{"ROOT_ACCESS_KEY=" + versityRoot, "ROOT_SECRET_KEY=" + g.secret}
}

// choosePort returns the port to listen on, and keeps it for the next start. A
// gateway whose parent was killed a moment ago may still hold it.
func (g *VersityGW) choosePort(ctx context.Context) (int, error) {
	kept, err := g.folder.readFile(portFile)
	if err != nil {
		return 0, err
	}
	port := g.options.Port
	if port == 0 {
		port = firstNumber(string(kept))
	}
	if port == 0 {
		port, err = freePort(ctx)
	} else {
		err = waitPort(ctx, port)
	}
	if err != nil {
		return 0, fmt.Errorf("%w (`ss -ltnp` shows whose it is); free it, name another one, or remove %s to have one chosen", err, g.folder.path(portFile))
	}
	return port, g.folder.writeFile(portFile, fmt.Append(nil, port))
}

// waitReady waits until the gateway takes connections.
func (g *VersityGW) waitReady(ctx context.Context, server *process) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	dialer := net.Dialer{Timeout: time.Second}
	for {
		if conn, err := dialer.DialContext(ctx, "tcp", g.address()); err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-server.done:
			return server.failure()
		case <-ctx.Done():
			return fmt.Errorf("the S3 gateway did not become ready in time, its log is %s: %w", server.logFile, ctx.Err())
		}
	}
}

// BucketsFolder is where the buckets are, one folder each.
func (g *VersityGW) BucketsFolder() string {
	if g.options.Buckets != "" {
		return g.options.Buckets
	}
	return g.folder.path(dataFolder)
}
