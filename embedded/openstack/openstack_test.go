package openstack

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"

	"github.com/chandler-broker/chandler/embedded"
)

// What tenants have of every service survives kill -9 of every server, and a second start, which
// continues with the ports and the accounts. All tests of this package share the two starts, which
// take most of its time.
func TestCloud(t *testing.T) {
	dir := reachable(t)
	first := run(t, dir, Services()...)
	for _, server := range []holder{first.Identity, first.DNS, first.Shares, first.Databases, first.Objects} {
		holds(t, server)
	}
	shop, _ := project(t, first, "shop")
	t.Run("accounts", func(t *testing.T) { testAccounts(t, first, shop) })
	t.Run("secrets", func(t *testing.T) { testSecrets(t, first) })
	all := map[string]tenant{"DNS": &zoneTenant{}, "shares": &shareTenant{}, "databases": &databaseTenant{}, "objects": &bucketTenant{}}
	sideBySide(t, "new", all, func(t *testing.T, own tenant) { own.begin(t, first, shop) })
	killEach(t, first)
	sideBySide(t, "after kill -9", all, func(t *testing.T, own tenant) { own.continues(t, first, shop) })
	holds(t, first.Identity, "project shop")
	stop(t, first)

	second := run(t, dir, Services()...)
	if second.Identity.AuthURL() != first.Identity.AuthURL() || second.DNS.URL() != first.DNS.URL() || second.Identity.Broker() != first.Identity.Broker() {
		t.Error("the second start has other ports or passwords")
	}
	sideBySide(t, "after the second start", all, func(t *testing.T, own tenant) { own.continues(t, second, shop) })
	t.Run("a database ends", func(t *testing.T) { testDatabaseEnds(t, second, shop, all["databases"].(*databaseTenant)) })
	t.Run("parent killed", func(t *testing.T) { testParentKilled(t, second) })
}

// tenant has something of one service.
type tenant interface {
	// begin makes it in the project.
	begin(t *testing.T, c *Cloud, project string)
	// continues fails t unless it is there, and the service makes more.
	continues(t *testing.T, c *Cloud, project string)
}

func sideBySide(t *testing.T, when string, all map[string]tenant, what func(t *testing.T, own tenant)) {
	passed := t.Run(when, func(t *testing.T) {
		for name, own := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				what(t, own)
			})
		}
	})
	if !passed {
		t.FailNow()
	}
}

// killEach kills and restarts one server after the other, while those that use it run.
func killEach(t *testing.T, c *Cloud) {
	t.Helper()
	err := parallel(
		killed(t, c.Database, c.Identity, c.DNS, c.DNS.NameServer),
		killed(t, c.Ceph.Monitor, c.Ceph.OSD, c.Ceph.Manager, c.Ceph.Metadata, c.Objects),
	)
	if err != nil {
		t.Fatal(err)
	}
	c.Databases.Kill()
	noProcesses(t, c.Databases.Path("guests"))
	restart := func(p embedded.Process) func() error { return func() error { return p.Restart(t.Context()) } }
	c.Shares.Kill()
	if err := parallel(restart(c.Databases), restart(c.Shares)); err != nil {
		t.Fatal(err)
	}
}

func killed(t *testing.T, servers ...embedded.Process) func() error {
	return func() error {
		for _, server := range servers {
			server.Kill()
			if err := server.Restart(t.Context()); err != nil {
				return err
			}
		}
		return nil
	}
}

// The broker's account can do what the broker needs in its domain, and nothing elsewhere.
func testAccounts(t *testing.T, c *Cloud, id string) {
	found, err := roles.List(identityClient(t, login(t, c, c.Identity.Admin(), "")), roles.ListOpts{Name: "admin"}).AllPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := roles.ExtractRoles(found)
	if err != nil || len(admin) != 1 {
		t.Fatalf("role admin: %v, %v", admin, err)
	}
	broker := login(t, c, c.Identity.Broker(), "")
	for name, grant := range map[string]struct{ role, project string }{
		"admin in its project":          {admin[0].ID, id},
		"member in another's project":   {c.Identity.MemberRoleID(), c.Identity.ids.AdminProject},
		"admin in the cloud's projects": {admin[0].ID, c.Identity.ids.AdminProject},
	} {
		err := roles.Assign(t.Context(), identityClient(t, broker), grant.role, roles.AssignOpts{UserID: userOf(t, broker), ProjectID: grant.project}).ExtractErr()
		if !gophercloud.ResponseCodeIs(err, 403) {
			t.Errorf("the broker's account grants itself %s: %v", name, err)
		}
	}
	// Why the broker refuses this account: it can do just that.
	strong := login(t, c, c.Identity.DomainAdmin(), "")
	grant := roles.AssignOpts{UserID: userOf(t, strong), ProjectID: c.Identity.ids.AdminProject}
	if err := roles.Assign(t.Context(), identityClient(t, strong), admin[0].ID, grant).ExtractErr(); err != nil {
		t.Errorf("an admin of the domain grants itself admin elsewhere: %v", err)
	}
}

// With everything running, no secret can be read by other users, or is in a process's arguments,
// and all servers listen on loopback.
func testSecrets(t *testing.T, c *Cloud) {
	entries, err := os.ReadDir(c.options.Dir)
	if err != nil || len(entries) < 12 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 && e.Name() != programsFolder {
			t.Errorf("%s: %v, %v", e.Name(), info, err)
		}
	}
	keyring, err := os.ReadFile(c.Ceph.Monitor.Path(cephKeyring))
	if err != nil {
		t.Fatal(err)
	}
	_, cephKey, _ := strings.Cut(string(keyring), "key = ")
	secrets := []string{c.databasePassword, c.DNS.NameServer.APIKey(), c.Objects.SecretAccessKey(), cephKey[:40]}
	for _, password := range c.Identity.passwords {
		secrets = append(secrets, password)
	}
	lines := commandLines(t, c.options.Dir)
	if len(lines) < 10 {
		t.Errorf("processes: %q", lines)
	}
	for _, line := range lines {
		for _, secret := range secrets {
			if secret == "" || strings.Contains(line, secret) {
				t.Errorf("a secret is in the arguments %q", line)
			}
		}
	}
	for _, address := range listeners(t, c.options.Dir) {
		if !strings.HasSuffix(address[:8], "7F") { // 127, in the machine's byte order
			t.Errorf("a server listens on %s (in hexadecimal)", address)
		}
	}
	for _, name := range []string{"openstack", "ceph", "ceph-fuse", "radosgw-admin"} {
		if out, err := exec.CommandContext(t.Context(), filepath.Join(c.Programs(), name), "--version").CombinedOutput(); err != nil {
			t.Errorf("%s --version: %v: %s", name, err, out)
		}
	}
}

// listeners returns the TCP addresses on which processes that name a folder listen, as in
// proc(5), /proc/net/tcp.
func listeners(t *testing.T, dir string) []string {
	t.Helper()
	listening := map[string]string{} // by the socket's inode
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" {
				listening["socket:["+f[9]+"]"] = f[1]
			}
		}
	}
	var addresses []string
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline") // fails only for a bad pattern
	for _, file := range processes {
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), dir) {
			continue
		}
		sockets, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "fd", "*"))
		for _, s := range sockets {
			if target, err := os.Readlink(s); err == nil && listening[target] != "" {
				addresses = append(addresses, listening[target])
			}
		}
	}
	if len(addresses) < 8 {
		t.Errorf("listeners: %q", addresses)
	}
	return addresses
}

// deploy/install/dependencies unpacks the packages where this package expects them.
func TestPackagesFolder(t *testing.T) {
	script, err := os.ReadFile("../../deploy/install/dependencies")
	if err != nil || !strings.Contains(string(script), "readonly cloud="+packagesFolder+"\n") {
		t.Errorf("deploy/install/dependencies does not unpack into %s: %v", packagesFolder, err)
	}
}

// kill -9 of the process that started a cloud leaves nothing running, and the next process
// continues. Meanwhile another cloud has other ports and projects.
func testParentKilled(t *testing.T, other *Cloud) {
	dir := reachable(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperFolder+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "started: <nil>\n" {
		t.Fatal(line, err)
	}
	if running := commandLines(t, dir); len(running) < 2 {
		t.Errorf("processes: %q", running)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	noProcesses(t, dir)
	next := run(t, dir)
	if next.Identity.Port() == other.Identity.Port() {
		t.Error("two clouds have one port")
	}
	project(t, next, "next")
	holds(t, next.Identity, "project next")
	holds(t, other.Identity, "project shop")
}
