package openstack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/embedded"
)

// Ceph is a running Ceph cluster with one monitor and one OSD, and for Manila a manager, a metadata
// server and the file system cephfs.
type Ceph struct {
	// Monitor and OSD have the data.
	Monitor, OSD *embedded.Command
	// Manager and Metadata are nil without CephFS.
	Manager, Metadata *embedded.Command

	cloud *Cloud
	fsid  string
}

const (
	cephConfig  = "ceph.conf"
	cephKeyring = "keyring"
	// oldPort is the name of the monitor's port for the protocol of Ceph before version 14,
	// which the kernel's client and Manila's export locations use.
	oldPort = "v1"
)

// cephKeys are the cluster's own accounts, with what each is allowed to do.
var cephKeys = []struct{ name, caps string }{
	{"mon.", `mon = "allow *"`},
	{"client.admin", `mon = "allow *"; osd = "allow *"; mds = "allow *"; mgr = "allow *"`},
	{"mgr.x", `mon = "allow profile mgr"; osd = "allow *"; mds = "allow *"`},
	{"osd.0", `mon = "allow profile osd"; mgr = "allow profile osd"; osd = "allow *"`},
	{"mds.a", `mon = "allow profile mds"; mgr = "allow profile osd"; osd = "allow *"; mds = "allow *"`},
	{"client.manila", `mon = "allow r"; mgr = "allow rw"`},
	{"client.rgw", `mon = "allow rw"; osd = "allow rwx"; mgr = "allow rw"`},
}

// ConfigFile is the configuration for clients, which names the monitor and the keyring with all
// accounts.
func (c *Ceph) ConfigFile() string { return c.Monitor.Path(cephConfig) }

// MonitorAddress is host:port of the monitor, as in Manila's export locations.
func (c *Ceph) MonitorAddress() string {
	return loopback + ":" + strconv.Itoa(c.Monitor.NamedPort(oldPort))
}

func openCeph(ctx context.Context, cloud *Cloud) (_ *Ceph, err error) {
	c := &Ceph{cloud: cloud}
	open := func(title, dir string, ports ...string) (command *embedded.Command) {
		if err == nil {
			command, err = embedded.OpenCommand(ctx, embedded.CommandOptions{Title: title, Dir: cloud.dir(dir).Dir, Ports: ports})
		}
		return command
	}
	c.Monitor, c.OSD = open("Ceph monitor", "ceph-mon", oldPort), open("Ceph OSD", "ceph-osd")
	if cloud.has(Shares) {
		c.Manager, c.Metadata = open("Ceph manager", "ceph-mgr"), open("Ceph metadata server", "ceph-mds")
	}
	if err == nil {
		c.fsid, err = c.Monitor.Secret("fsid", uuid)
	}
	return c, err
}

func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand.Read aborts the program instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// cephKey returns a new key: a struct CryptoKey in base64 (Ceph, src/auth/Crypto.cc).
func cephKey() string {
	const aes, length = 1, 16
	b := binary.LittleEndian.AppendUint16(nil, aes)
	b = binary.LittleEndian.AppendUint32(b, uint32(time.Now().Unix())) //nolint:gosec // until 2106
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint16(b, length)
	secret := make([]byte, length)
	_, _ = rand.Read(secret) // see uuid
	return base64.StdEncoding.EncodeToString(append(b, secret...))
}

func newKeyring() string {
	var text strings.Builder
	for _, k := range cephKeys {
		fmt.Fprintf(&text, "[%s]\n\tkey = %s\n", k.name, cephKey())
		for c := range strings.SplitSeq(k.caps, "; ") {
			fmt.Fprintf(&text, "\tcaps %s\n", c)
		}
	}
	return text.String()
}

// config is the configuration of a daemon, or for clients if own is the monitor.
func (c *Ceph) config(own *embedded.Command) (string, error) {
	s := settings{packages: c.cloud.packages, State: own.Path("."), Keyring: c.Monitor.Path(cephKeyring)}
	s.FSID, s.MonitorPort, s.OldMonitorPort = c.fsid, c.Monitor.Port(), c.Monitor.NamedPort(oldPort)
	s.MonitorData, s.StoreData = c.Monitor.Data(), c.OSD.Data()
	if c.Manager != nil {
		s.ManagerModules = c.Manager.Path(managerModules)
	}
	if c.cloud.Objects != nil {
		s.GatewayPort = c.cloud.Objects.Port()
	}
	return s.render(cephConfig)
}

// program is a program of Ceph with its configuration, in a daemon's folder.
func (c *Ceph) program(own *embedded.Command, name string, args ...string) (embedded.Program, error) {
	config, err := c.config(own)
	return embedded.Program{
		Path: c.cloud.packages.path("usr/bin/" + name), Args: append([]string{"--conf", own.Path(cephConfig)}, args...),
		Env: c.cloud.packages.environment(own.Path("."), own.Path(".")), Log: name + ".log",
		Files: map[string]string{cephConfig: config},
		Ready: func(context.Context) bool { return true },
	}, err
}

func (c *Ceph) tool(ctx context.Context, own *embedded.Command, name string, args ...string) error {
	p, err := c.program(own, name, args...)
	if err != nil {
		return err
	}
	return own.Tool(ctx, p)
}

func (c *Ceph) daemon(ctx context.Context, own *embedded.Command, name, id string) error {
	p, err := c.program(own, name, "-i", id, "-f")
	if err != nil {
		return err
	}
	p.Abrupt = own == c.Manager || own == c.Metadata // their data is the OSD's
	return own.Start(ctx, p)
}

// start starts the cluster. Clients wait for what is not up yet.
func (c *Ceph) start(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if err := c.startMonitor(ctx); err != nil {
		return err
	}
	if c.Manager == nil {
		return c.startOSD(ctx)
	}
	if err := c.linkModules(); err != nil {
		return err
	}
	err := parallel(
		func() error { return c.startOSD(ctx) },
		func() error { return c.daemon(ctx, c.Manager, "ceph-mgr", "x") },
		func() error { return c.daemon(ctx, c.Metadata, "ceph-mds", "a") },
	)
	if err == nil {
		err = c.setup(ctx, "filesystem")
	}
	return err
}

// managerModules is a folder with the manager's modules.
const managerModules = "modules"

// linkModules makes the folder with the modules that Manila uses: the manager would load forty into
// an interpreter each, in twice the memory and time.
func (c *Ceph) linkModules() error {
	if err := c.Manager.MakeDir(managerModules); err != nil {
		return err
	}
	for _, name := range []string{"mgr_module.py", "mgr_util.py", "orchestrator", "volumes"} {
		link := c.Manager.Path(filepath.Join(managerModules, name))
		if err := os.Symlink(c.cloud.packages.path("usr/share/ceph/mgr/"+name), link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

func (c *Ceph) startMonitor(ctx context.Context) error {
	m := c.Monitor
	if _, err := m.Secret(cephKeyring, newKeyring); err != nil {
		return err
	}
	err := m.MakeData(ctx, func(ctx context.Context, path string) error {
		addresses := fmt.Sprintf("[v2:%s:%d,v1:%s]", loopback, m.Port(), c.MonitorAddress())
		if err := c.tool(ctx, m, "monmaptool", "--create", "--clobber", "--fsid", c.fsid, "--addv", "a", addresses, m.Path("monmap")); err != nil {
			return err
		}
		return c.tool(ctx, m, "ceph-mon", "--mkfs", "-i", "a", "--monmap", m.Path("monmap"), "--keyring", m.Path(cephKeyring), "--mon-data", path)
	})
	if err != nil {
		return err
	}
	return c.daemon(ctx, m, "ceph-mon", "a")
}

func (c *Ceph) startOSD(ctx context.Context) error {
	id, err := c.OSD.Secret("uuid", uuid)
	if err != nil {
		return err
	}
	err = c.OSD.MakeData(ctx, func(ctx context.Context, path string) error {
		if err := c.setup(ctx, "osd", id); err != nil {
			return err
		}
		return c.tool(ctx, c.OSD, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", id, "--osd-data", path)
	})
	if err != nil {
		return err
	}
	return c.daemon(ctx, c.OSD, "ceph-osd", "0")
}

// setup runs a step of ceph_setup.py.
func (c *Ceph) setup(ctx context.Context, step string, args ...string) error {
	const script = "ceph_setup.py"
	source, err := files.ReadFile(filepath.Join("python", script))
	if err != nil {
		return err
	}
	p, err := c.program(c.Monitor, script)
	if err != nil {
		return err
	}
	p.Files[script] = string(source)
	p.Path, p.Args = c.cloud.packages.python, append([]string{c.Monitor.Path(script), step, c.ConfigFile()}, args...)
	return c.Monitor.Tool(ctx, p)
}

func (c *Ceph) stop(ctx context.Context) error {
	if c == nil {
		return nil
	}
	err := parallel(stopper(ctx, c.Metadata), stopper(ctx, c.Manager), stopper(ctx, c.OSD))
	return errors.Join(err, stopper(ctx, c.Monitor)())
}

// stopper stops a server, unless it was not opened.
func stopper(ctx context.Context, c *embedded.Command) func() error {
	return func() error {
		if c == nil {
			return nil
		}
		return c.Stop(ctx)
	}
}
