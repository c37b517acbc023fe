package openstack

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/miekg/dns"
)

// The broker's account can do what the broker needs in its domain, and nothing elsewhere.
func TestAccounts(t *testing.T) {
	c := run(t, reachable(t))
	id, _ := project(t, c, "shop")
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
func TestSecrets(t *testing.T) {
	c := run(t, reachable(t), DNS, Shares, Databases, Objects)
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
// continues. Meanwhile another cloud has other ports.
func TestParentKilled(t *testing.T) {
	dir, other := reachable(t), run(t, reachable(t), DNS)
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
	if running := commandLines(t, dir); len(running) < 3 {
		t.Errorf("processes: %q", running)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for end := time.Now().Add(30 * time.Second); len(commandLines(t, dir)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("processes are left: %q", commandLines(t, dir))
		}
	}
	next := run(t, dir, DNS)
	if next.Identity.Port() == other.Identity.Port() {
		t.Error("two clouds have one port")
	}
	_, client := project(t, next, "shop")
	makeZone(t, dnsClient(t, client), "shop.example.", "192.0.2.1")
	resolves(t, next, "www.shop.example.", "192.0.2.1")
	answer, err := dns.Exchange(new(dns.Msg).SetQuestion("www.shop.example.", dns.TypeA), other.DNS.NameServer.Address())
	if err != nil || len(answer.Answer) > 0 {
		t.Errorf("the other cloud's name server: %v, %v", answer, err)
	}
}
