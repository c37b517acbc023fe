package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/broker/auth"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

// platformsOf returns the catalog's platforms or, if it names none, the environment's.
func platformsOf(c *catalog.Catalog, s Settings) ([]catalog.Client, error) {
	if p := c.Platforms(); len(p) > 0 {
		return p, nil
	}
	if s.Username == "" {
		return nil, configErrorf("no platform is configured: set CHANDLER_USERNAME and CHANDLER_PASSWORD, or name platforms in the catalog")
	}
	return []catalog.Client{passwordClient(catalog.DefaultPlatform, s.Username, s.Password)}, nil
}

// operatorsOf returns the catalog's operators or, if it names none, the environment's, if
// there is one.
func operatorsOf(c *catalog.Catalog, s Settings) []catalog.Client {
	if o := c.Operators(); len(o) > 0 || s.OperatorUsername == "" {
		return o
	}
	return []catalog.Client{passwordClient("operator", s.OperatorUsername, s.OperatorPassword)}
}

func passwordClient(name, username, password string) catalog.Client {
	return catalog.Client{Name: name, Username: username, Passwords: []services.Secret{services.NewSecret(password)}}
}

// The authenticators' names in metrics.
const (
	platformClients = "platform"
	operatorClients = "operator"
)

// clients keeps the two authenticators up to date with the catalog's sections platforms
// and operators, and with the files that these name. It also reports which servers the
// catalog drains.
type clients struct {
	settings  Settings
	logger    *slog.Logger
	started   *catalog.Catalog // as it was at the start
	catalog   *catalog.Catalog // as it was read last
	platforms *auth.Authenticator
	operators *auth.Authenticator
	metrics   *metrics
	// drain is called when the catalog begins or ceases to drain a server.
	drain   func(server string, drained bool)
	digests digests
}

// digests are the SHA-256 of files when they were read last; zero for a file that could
// not be read.
type digests map[string][sha256.Size]byte

// newClients finds what is wrong with the clients' files, and makes no outside call.
func newClients(c *catalog.Catalog, s Settings, logger *slog.Logger, m *metrics) (*clients, error) {
	k := &clients{settings: s, logger: logger, started: c, catalog: c, metrics: m, drain: func(string, bool) {}}
	known, err := platformsOf(c, s)
	if err != nil {
		return nil, err
	}
	open := func(name string, known []catalog.Client) (*auth.Authenticator, error) {
		return auth.New(auth.Options{
			Clients: known, TrustedProxies: s.TrustedProxies, Logger: logger,
			Refused: func(reason string) { m.refusals.WithLabelValues(name, reason).Inc() },
		})
	}
	var faults [2]error
	k.platforms, faults[0] = open(platformClients, known)
	k.operators, faults[1] = open(operatorClients, operatorsOf(c, s))
	if err := errors.Join(faults[:]...); err != nil {
		return nil, ConfigError{err}
	}
	if s.TLSCert == "" && (k.platforms.UsesCertificates() || k.operators.UsesCertificates()) {
		return nil, configErrorf("the catalog has clients with certificates, which need TLS: set CHANDLER_TLS_CERT and CHANDLER_TLS_KEY")
	}
	k.digests = k.digest()
	setFlag(m.clientsCurrent, true)
	return k, nil
}

// reloadEvery is how soon a changed file is noticed.
const reloadEvery = 2 * time.Second

// watch reloads the files when they change, and on SIGHUP, until ctx ends.
func (k *clients) watch(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			k.reload(ctx)
		case <-tick.C:
			if !maps.Equal(k.digest(), k.digests) {
				k.reload(ctx)
			}
		}
	}
}

// reload applies the clients and the drained servers of the files. An invalid file
// changes nothing.
func (k *clients) reload(ctx context.Context) {
	read, before := k.digest(), k.catalog
	err := k.replace()
	if err == nil {
		read = k.digest() // the catalog may name other files now
		k.report(ctx, before, read)
	} else {
		k.logger.ErrorContext(ctx, "clients not reloaded, those of before stay", "error", err.Error())
	}
	setFlag(k.metrics.clientsCurrent, err == nil)
	k.digests = read
}

// report logs what a reload changed, and what takes effect at the next start.
func (k *clients) report(ctx context.Context, before *catalog.Catalog, read digests) {
	if !reflect.DeepEqual(before.Platforms(), k.catalog.Platforms()) || !reflect.DeepEqual(before.Operators(), k.catalog.Operators()) ||
		!maps.Equal(k.clientFiles(k.digests), k.clientFiles(read)) {
		k.logger.InfoContext(ctx, "clients reloaded")
	}
	was := before.Drained()
	for server, drained := range k.catalog.Drained() {
		if old, known := was[server]; known && old != drained {
			k.drain(server, drained)
			k.logger.InfoContext(ctx, "server drained, or no longer", "server", server, "drained", drained)
		}
	}
	if pending := k.started.Pending(k.catalog); len(pending) > 0 {
		k.logger.WarnContext(ctx, "the catalog has changes that take effect when the broker is started again", "sections", pending)
	}
}

// clientFiles are the digests of all files but the catalog.
func (k *clients) clientFiles(d digests) digests {
	files := maps.Clone(d)
	delete(files, k.settings.CatalogPath)
	return files
}

// replace changes both authenticators or none.
func (k *clients) replace() error {
	c, err := LoadCatalog(k.settings)
	if err != nil {
		return err
	}
	known, err := platformsOf(c, k.settings)
	if err != nil {
		return err
	}
	if _, err := auth.New(auth.Options{Clients: operatorsOf(c, k.settings), Logger: k.logger}); err != nil {
		return err
	}
	if err := k.platforms.Replace(known); err != nil {
		return err
	}
	if err := k.operators.Replace(operatorsOf(c, k.settings)); err != nil {
		return err
	}
	k.catalog = c
	return nil
}

// digest reads the catalog and the files that its clients name. Modification times would
// not do: a file system's clock may stand still between two writes.
func (k *clients) digest() digests {
	known, _ := platformsOf(k.catalog, k.settings)
	files := []string{k.settings.CatalogPath}
	for _, c := range slices.Concat(known, operatorsOf(k.catalog, k.settings)) {
		files = append(files, c.PasswordFiles...)
		if c.Certificates != nil {
			files = append(files, c.Certificates.CAFile)
		}
	}
	d := digests{}
	for _, file := range files {
		d[file] = [sha256.Size]byte{}
		if text, err := os.ReadFile(file); err == nil {
			d[file] = sha256.Sum256(text)
		}
	}
	return d
}
