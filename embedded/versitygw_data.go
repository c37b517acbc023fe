package embedded

import (
	"context"
	"errors"
	"io/fs"
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

// fill makes what the gateway needs in its folder, as far as it is not there.
func (g *VersityGW) fill(ctx context.Context) (err error) {
	if g.binary, err = g.folder.placeProgram(g.options.Binary, versityProgram); err != nil {
		return err
	}
	if err := g.makeFolders(); err != nil {
		return err
	}
	if g.options.Certificate != nil {
		if err := g.folder.writeFile(versityCertFile, g.options.Certificate); err != nil {
			return err
		}
		if err := g.folder.writeFile(versityKeyFile, g.options.Key); err != nil {
			return err
		}
	}
	if g.secret, err = g.folder.keptSecret(versitySecretFile); err != nil {
		return err
	}
	g.port, err = g.folder.keptPort(ctx, portFile, g.options.Port, tryTCP)
	return err
}

func (g *VersityGW) makeFolders() error {
	for _, name := range []string{dataFolder, versityAccounts} {
		if err := g.folder.makeDir(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Again: a crash may have come between making it and giving it away.
		if err := g.folder.own(g.folder.path(name), 0o700); err != nil {
			return err
		}
	}
	if g.options.Buckets == "" {
		return nil
	}
	return g.folder.own(g.options.Buckets, 0o700)
}

func (g *VersityGW) arguments() []string {
	buckets := g.options.Buckets
	if buckets == "" {
		buckets = g.folder.childPath(dataFolder)
	}
	args := []string{
		"-listen", localAddress(g.port), "-region", g.Region(),
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

// ready says whether the gateway takes connections.
func (g *VersityGW) ready(ctx context.Context, _ int) bool { return listens(ctx, localAddress(g.port)) }

// BucketsFolder is where the buckets are, one folder each.
func (g *VersityGW) BucketsFolder() string {
	if g.options.Buckets != "" {
		return g.options.Buckets
	}
	return g.folder.path(dataFolder)
}
