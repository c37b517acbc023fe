package embedded

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
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

func startVersityGWKind(ctx context.Context, o KindOptions) (Running, error) {
	binary, err := BuildVersityGW(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	return StartVersityGW(ctx, VersityGWOptions{Binary: binary, Dir: o.Dir})
}

// Access implements Running.
func (g *VersityGW) Access(connect func(string) string) (variables, secrets map[string]string) {
	return map[string]string{
		"S3_ENDPOINT": "http://" + connect(g.Address()), "S3_ACCESS_KEY_ID": versityRoot, "S3_SECRET_ACCESS_KEY": g.secret,
		"S3_SHARED_FOLDER": g.BucketsFolder(),
	}, map[string]string{"the S3 gateway's root secret": g.secret}
}

// Holds implements Running. It lists the folders of buckets, and the accounts, which are in a
// file.
func (g *VersityGW) Holds(context.Context) ([]string, error) {
	folders, err := os.ReadDir(g.BucketsFolder())
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, f := range folders {
		if f.Name() != ".vgwlocks" { // empty files that the gateway never removes
			names = append(names, f.Name())
		}
	}
	text, err := os.ReadFile(g.folder.path(versityAccounts + "/users.json"))
	if errors.Is(err, fs.ErrNotExist) { // before the first account
		return names, nil
	} else if err != nil {
		return nil, err
	}
	var file struct {
		Accounts map[string]json.RawMessage `json:"accessAccounts"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read the gateway's accounts: %w", err)
	}
	return append(names, slices.Collect(maps.Keys(file.Accounts))...), nil
}
