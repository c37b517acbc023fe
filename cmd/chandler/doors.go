package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/broker/auth"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

// platforms are the clients that may call: the catalog's, or the one of the
// environment.
func platforms(c *catalog.Catalog, s settings) ([]catalog.Client, error) {
	if p := c.Platforms(); len(p) > 0 {
		return p, nil
	}
	if s.Username == "" {
		return nil, usageError{errors.New("no platform may call: set CHANDLER_USERNAME and CHANDLER_PASSWORD, or name platforms in the catalog")}
	}
	return []catalog.Client{passwordClient(catalog.DefaultPlatform, s.Username, s.Password)}, nil
}

// operators are the clients that may read metrics: the catalog's, or the one of
// the environment. There may be none.
func operators(c *catalog.Catalog, s settings) []catalog.Client {
	if o := c.Operators(); len(o) > 0 || s.OperatorUsername == "" {
		return o
	}
	return []catalog.Client{passwordClient("operator", s.OperatorUsername, s.OperatorPassword)}
}

func passwordClient(name, username, password string) catalog.Client {
	return catalog.Client{Name: name, Username: username, Passwords: []services.Secret{services.NewSecret(password)}}
}

// The doors' names in metrics.
const (
	platformDoor = "platform"
	operatorDoor = "operator"
)

// doors are the ways in, of which each has its own clients. They follow the
// catalog's sections platforms and operators, and the files that these name,
// while the broker runs, and tell which servers the catalog has drained.
type doors struct {
	settings  settings
	logger    *slog.Logger
	started   *catalog.Catalog // as it was at the start
	catalog   *catalog.Catalog // as it was read last
	platforms *auth.Authenticator
	operators *auth.Authenticator
	// reloaded is told whether the files are of use as they are now.
	reloaded func(ok bool)
	// drain is told where the catalog begins or ceases to drain a server.
	drain func(server string, drained bool)
	// seen is each file's digest when it was read last.
	seen map[string][sha256.Size]byte
}

// newDoors opens the doors. It finds what is wrong with the files, and makes no
// outside call.
func newDoors(c *catalog.Catalog, s settings, logger *slog.Logger, m *metrics) (*doors, error) {
	d := &doors{settings: s, logger: logger, started: c, catalog: c, reloaded: m.clientsReloaded, drain: func(string, bool) {}}
	clients, err := platforms(c, s)
	if err != nil {
		return nil, err
	}
	open := func(door string, clients []catalog.Client) (*auth.Authenticator, error) {
		opened, err := auth.New(auth.Options{
			Clients: clients, TrustedProxies: s.TrustedProxies, Logger: logger, Refused: func(reason string) { m.refused(door, reason) },
		})
		if err != nil {
			return nil, usageError{err}
		}
		return opened, nil
	}
	var faults [2]error
	d.platforms, faults[0] = open(platformDoor, clients)
	d.operators, faults[1] = open(operatorDoor, operators(c, s))
	if err := errors.Join(faults[:]...); err != nil {
		return nil, err
	}
	if s.TLSCert == "" && (d.platforms.UsesCertificates() || d.operators.UsesCertificates()) {
		return nil, usagef("the catalog has clients with certificates, which come over TLS only: set CHANDLER_TLS_CERT and CHANDLER_TLS_KEY")
	}
	d.seen = d.contents(clients, operators(c, s))
	d.reloaded(true)
	return d, nil
}

// lookEvery is how soon a changed file is noticed.
const lookEvery = 2 * time.Second

// follow reads the files anew when they change, and on SIGHUP, until ctx ends.
func (d *doors) follow(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			d.reload(ctx)
		case <-tick.C:
			if !reflect.DeepEqual(d.contents(d.current()), d.seen) {
				d.reload(ctx)
			}
		}
	}
}

// current are the clients of the catalog as it was read last.
func (d *doors) current() (clients, operating []catalog.Client) {
	clients, _ = platforms(d.catalog, d.settings)
	return clients, operators(d.catalog, d.settings)
}

// reload accepts the clients that the files name now, and applies which servers are
// drained. An invalid file changes nothing.
func (d *doors) reload(ctx context.Context) {
	seen, before := d.contents(d.current()), d.catalog
	err := d.replace()
	if err == nil {
		seen = d.contents(d.current()) // the catalog may name other files now
		d.tell(ctx, before, seen)
	} else {
		d.logger.ErrorContext(ctx, "clients not reloaded, those of before stay", "error", err.Error())
	}
	d.reloaded(err == nil)
	d.seen = seen
}

// tell logs what a reload changed, and what takes effect at the next start.
func (d *doors) tell(ctx context.Context, before *catalog.Catalog, seen map[string][sha256.Size]byte) {
	if !reflect.DeepEqual(before.Platforms(), d.catalog.Platforms()) || !reflect.DeepEqual(before.Operators(), d.catalog.Operators()) ||
		!reflect.DeepEqual(d.clientFiles(d.seen), d.clientFiles(seen)) {
		d.logger.InfoContext(ctx, "clients reloaded")
	}
	was := before.Drained()
	for server, drained := range d.catalog.Drained() {
		if old, known := was[server]; known && old != drained {
			d.drain(server, drained)
			d.logger.InfoContext(ctx, "server drained, or no longer", "server", server, "drained", drained)
		}
	}
	if pending := d.started.Pending(d.catalog); len(pending) > 0 {
		d.logger.WarnContext(ctx, "the catalog has changes that take effect when the broker is started again", "sections", pending)
	}
}

// clientFiles are the digests of all files but the catalog.
func (d *doors) clientFiles(seen map[string][sha256.Size]byte) map[string][sha256.Size]byte {
	files := maps.Clone(seen)
	delete(files, d.settings.CatalogPath)
	return files
}

func (d *doors) replace() error {
	c, err := loadCatalog(d.settings)
	if err != nil {
		return err
	}
	clients, err := platforms(c, d.settings)
	if err != nil {
		return err
	}
	// All or nothing: what is wrong with the second must not change the first.
	for _, set := range [][]catalog.Client{clients, operators(c, d.settings)} {
		if _, err := auth.New(auth.Options{Clients: set, Logger: d.logger}); err != nil {
			return err
		}
	}
	if err := errors.Join(d.platforms.Replace(clients), d.operators.Replace(operators(c, d.settings))); err != nil {
		return err
	}
	d.catalog = c
	return nil
}

// contents digests the catalog and the files that clients name. Times would not do:
// a file system's clock may stand still between two writes. One that cannot be
// read has the zero digest.
func (d *doors) contents(clients, operating []catalog.Client) map[string][sha256.Size]byte {
	files := []string{d.settings.CatalogPath}
	for _, c := range append(append([]catalog.Client{}, clients...), operating...) {
		files = append(files, c.PasswordFiles...)
		if c.Certificates != nil {
			files = append(files, c.Certificates.CAFile)
		}
	}
	seen := map[string][sha256.Size]byte{}
	for _, file := range files {
		seen[file] = [sha256.Size]byte{}
		if text, err := os.ReadFile(file); err == nil {
			seen[file] = sha256.Sum256(text)
		}
	}
	return seen
}
