package openstack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/chandler-broker/chandler/embedded"
)

// helperFolder makes this test binary the parent of a Keystone in the named folder: one that tests
// can kill.
const helperFolder = "OPENSTACK_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperFolder); dir != "" {
		_, err := Start(context.Background(), Options{Options: embedded.Options{Dir: dir, NoSync: true}})
		fmt.Println("started:", err)
		select {}
	}
	os.Exit(m.Run())
}

// reachable is a folder that every user can reach, unlike t.TempDir's.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chandler-test-cloud-")
	if err == nil {
		err = os.Chmod(dir, 0o711) //nolint:gosec // servers run as another user
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func run(t *testing.T, dir string, services ...Service) *Cloud {
	t.Helper()
	began := time.Now()
	c, err := Start(t.Context(), Options{Options: embedded.Options{Dir: dir, NoSync: true}, Services: services, Progress: t.Output()})
	if NotInstalled(err) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %s", time.Since(began).Round(100*time.Millisecond))
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, dir)
		}
		stop(t, c)
	})
	return c
}

// holder is a service.
type holder interface {
	Holds(context.Context) ([]string, error)
}

// holds checks what tenants have: the beginnings of the names, in any order.
func holds(t *testing.T, server holder, want ...string) {
	t.Helper()
	names, err := server.Holds(t.Context())
	if err != nil || len(names) != len(want) {
		t.Errorf("tenants have %q, %v, want %q", names, err, want)
	}
	for _, w := range want {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, w) }) {
			t.Errorf("tenants have %q, want %q", names, w)
		}
	}
}

// showLogs logs the last errors of OpenStack's servers.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "*", "*.log")) // fails only for a bad pattern
	for _, file := range logs {
		text, _ := os.ReadFile(file) //nolint:gosec // the cloud's own
		var errs []string
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, " ERROR ") {
				errs = append(errs, line)
			}
		}
		if len(errs) > 0 {
			t.Logf("%s: %s", file, strings.Join(errs[max(0, len(errs)-5):], ""))
		}
	}
}

func stop(t *testing.T, c *Cloud) {
	t.Helper()
	if err := c.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
		t.Fatal(err)
	}
}

// login returns a client with a token of an account, in a project, or else where it has its role.
func login(t *testing.T, c *Cloud, a Account, project string) *gophercloud.ProviderClient {
	t.Helper()
	o := gophercloud.AuthOptions{IdentityEndpoint: c.Identity.AuthURL(), Username: a.Name, Password: a.Password, DomainName: a.Domain}
	switch {
	case project != "":
		o.Scope = &gophercloud.AuthScope{ProjectID: project}
	case a.Project != "":
		o.Scope = &gophercloud.AuthScope{ProjectName: a.Project, DomainName: a.Domain}
	default:
		o.Scope = &gophercloud.AuthScope{DomainName: a.Domain}
	}
	client, err := openstack.AuthenticatedClient(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

var anywhere = gophercloud.EndpointOpts{Region: region}

// project makes a project in which the broker is a member, and returns its id and a client in it.
func project(t *testing.T, c *Cloud, name string) (string, *gophercloud.ProviderClient) {
	t.Helper()
	broker := login(t, c, c.Identity.Broker(), "")
	identity := identityClient(t, broker)
	p, err := projects.Create(t.Context(), identity, projects.CreateOpts{Name: name, DomainID: c.Identity.DomainID()}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	member := roles.AssignOpts{UserID: userOf(t, broker), ProjectID: p.ID}
	if err := roles.Assign(t.Context(), identity, c.Identity.MemberRoleID(), member).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	return p.ID, login(t, c, c.Identity.Broker(), p.ID)
}

func identityClient(t *testing.T, p *gophercloud.ProviderClient) *gophercloud.ServiceClient {
	t.Helper()
	client, err := openstack.NewIdentityV3(p, anywhere)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// userOf returns the id of a token's user.
func userOf(t *testing.T, p *gophercloud.ProviderClient) string {
	t.Helper()
	result, ok := p.GetAuthResult().(tokens.CreateResult)
	if !ok {
		t.Fatal("no token of Keystone's API v3")
	}
	user, err := result.ExtractUser()
	if err != nil {
		t.Fatal(err)
	}
	return user.ID
}

// noProcesses waits until no process names a folder.
func noProcesses(t *testing.T, dir string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); len(commandLines(t, dir)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("processes are left: %q", commandLines(t, dir))
		}
	}
}

// commandLines returns those of the processes that name a folder.
func commandLines(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // fails only for a bad pattern
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.Contains(string(text), dir) {
			lines = append(lines, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return lines
}
