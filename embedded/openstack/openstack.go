// Package openstack starts a private OpenStack cloud for tests and `chandler dev`, from Debian's
// packages, which deploy/install/dependencies unpacks: Keystone, Designate, Manila and Trove, each
// as one process, MariaDB, PowerDNS, and Ceph. OpenStack's files are unchanged; what the packages'
// fakes of Nova and Cinder lack is in python/trove_shims.py, and what saves queries in
// python/pings.py and python/keystone_memory.py. Package embedded says how the servers run.
package openstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/chandler-broker/chandler/embedded"
)

// Service is what a cloud can offer.
type Service int

// The services. Keystone runs with each of them but Objects.
const (
	DNS Service = iota
	Shares
	Databases
	Objects
)

// Options are those of a cloud.
type Options struct {
	// Options are those of its servers. Everybody must be able to reach Dir. MariaDB needs
	// about 150 MB in it.
	embedded.Options
	// Services are those to start; none: Keystone alone.
	Services []Service
	// Progress receives what takes long; nil: nobody.
	Progress io.Writer
}

// Cloud is a running cloud. Services that were not started are nil.
type Cloud struct {
	Identity *Identity
	// Database is the server of the services' own databases.
	Database  *embedded.MariaDB
	DNS       *DNSService
	Shares    *ShareService
	Databases *DatabaseService
	Objects   *ObjectService
	// Ceph runs with Shares and Objects.
	Ceph *Ceph

	lock     *os.File
	options  Options
	packages packages
	ready    *ready
	// databasePassword is new at each start.
	databasePassword string
}

// Start starts a cloud until Stop, or until this process ends. The first start on a machine
// prepares databases for all later ones, which takes most of a minute. Errors say what to install.
func Start(ctx context.Context, o Options) (*Cloud, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	c := &Cloud{options: o}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *Cloud) start(ctx context.Context) (err error) {
	if c.packages, err = findPackages(); err != nil {
		return err
	}
	if err := c.take(); err != nil {
		return err
	}
	if err := c.open(ctx); err != nil {
		return err
	}
	if err := c.makePrograms(); err != nil {
		return err
	}
	if err := parallel(func() error { return c.startOpenStack(ctx) }, func() error { return c.Ceph.start(ctx) }); err != nil {
		return err
	}
	return parallel(func() error { return c.Shares.start(ctx) }, func() error { return c.Objects.start(ctx) })
}

// startOpenStack starts everything that needs MariaDB.
func (c *Cloud) startOpenStack(ctx context.Context) (err error) {
	if c.Identity == nil {
		return nil
	}
	if c.ready, err = c.packages.prepare(ctx, c.options.Progress); err != nil {
		return err
	}
	if err := parallel(func() error { return c.startMariaDB(ctx) }, func() error { return c.DNS.startNameServer(ctx) }); err != nil {
		return err
	}
	return parallel(func() error { return c.Identity.start(ctx) }, func() error { return c.DNS.start(ctx) },
		func() error { return c.Databases.start(ctx) })
}

// take makes the folder, and holds its lock until Stop: nobody may remove it meanwhile.
func (c *Cloud) take() (err error) {
	if err := os.MkdirAll(c.options.Dir, 0o755); err != nil { //nolint:gosec // each server's folder is its own
		return err
	}
	if c.lock, err = os.OpenFile(filepath.Join(c.options.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(c.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s is in use by another process: stop it, or name another folder", c.options.Dir)
	}
	return nil
}

// open takes the servers' folders and ports, which the others' configuration contains.
func (c *Cloud) open(ctx context.Context) (err error) {
	if !slices.Equal(c.options.Services, []Service{Objects}) {
		c.Identity, err = openIdentity(ctx, c)
	}
	if err == nil && c.has(DNS) {
		c.DNS, err = openDNS(ctx, c)
	}
	if err == nil && c.has(Shares) {
		c.Shares, err = openShares(ctx, c)
	}
	if err == nil && c.has(Databases) {
		c.Databases, err = openDatabases(ctx, c)
	}
	if err == nil && c.has(Objects) {
		c.Objects, err = openObjects(ctx, c)
	}
	if err == nil && (c.has(Shares) || c.has(Objects)) {
		c.Ceph, err = openCeph(ctx, c)
	}
	return err
}

func (c *Cloud) has(s Service) bool { return slices.Contains(c.options.Services, s) }

// dir is the folder of one server.
func (c *Cloud) dir(name string) embedded.Options {
	return embedded.Options{Dir: filepath.Join(c.options.Dir, name), NoSync: c.options.NoSync}
}

// Stop ends the servers. If ctx ends first, it kills them and returns an error.
func (c *Cloud) Stop(ctx context.Context) error {
	err := parallel(
		func() error { return c.DNS.stop(ctx) }, func() error { return c.Shares.stop(ctx) },
		func() error { return c.Databases.stop(ctx) }, func() error { return c.Objects.stop(ctx) },
		func() error { return c.Identity.stop(ctx) },
	)
	err = errors.Join(err, parallel(func() error { return c.Ceph.stop(ctx) }, func() error { return c.stopMariaDB(ctx) }))
	if c.lock != nil {
		_ = c.lock.Close()
	}
	return err
}

// parallel returns the errors of functions that it calls at once.
func parallel(functions ...func() error) error {
	errs := make([]error, len(functions))
	var wait sync.WaitGroup
	for i, f := range functions {
		wait.Go(func() { errs[i] = f() })
	}
	wait.Wait()
	return errors.Join(errs...)
}
