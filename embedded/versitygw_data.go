package embedded

import (
	"cmp"
	"context"
	"crypto/rand"
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

func (g *VersityGW) fill(context.Context) (err error) {
	if g.binary, err = g.folder.placeProgram(g.options.Binary, versityProgram); err != nil {
		return err
	}
	for _, name := range []string{dataFolder, versityAccounts} {
		if err := g.folder.makeDir(name); err != nil {
			return err
		}
	}
	if g.options.Buckets != "" {
		if err := g.folder.setOwner(g.options.Buckets, 0o700); err != nil {
			return err
		}
	}
	if t := g.options.TLS; t != nil {
		if err := g.folder.writeFiles(map[string][]byte{versityCertFile: t.Certificate, versityKeyFile: t.Key}); err != nil {
			return err
		}
	}
	g.secret, err = g.folder.storedSecret(versitySecretFile, rand.Text)
	return err
}

func (g *VersityGW) arguments() []string {
	buckets := cmp.Or(g.options.Buckets, g.folder.childPath(dataFolder))
	args := []string{
		"-listen", g.Address(), "-region", g.Region(),
		"-data", buckets, "-accounts", g.folder.childPath(versityAccounts),
	}
	if g.options.TLS != nil {
		args = append(args, "-tls-cert-file", g.folder.childPath(versityCertFile), "-tls-key-file", g.folder.childPath(versityKeyFile))
	}
	return args
}

// BucketsFolder contains a folder for each bucket.
func (g *VersityGW) BucketsFolder() string {
	return cmp.Or(g.options.Buckets, g.folder.path(dataFolder))
}
