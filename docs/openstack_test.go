package docs_test

import (
	"crypto/rand"
	"encoding/base64"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// commands are the page's blocks of commands.
func commands(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, block[1])
	}
	return blocks
}

// TestOpenStackPage runs the page's commands in their order, in one shell, from a working cloud to
// a proven plan. The broker starts before the last of them.
func TestOpenStackPage(t *testing.T) {
	cloud := embeddedtest.OpenStack(t, openstack.DNS)
	blocks := commands(t, "openstack.md")
	if len(blocks) != 5 || !strings.Contains(blocks[4], "chandler smoke") {
		t.Fatalf("the page has %d blocks of commands, or the last does not prove the plan", len(blocks))
	}
	folder, address := t.TempDir(), freeAddress(t)
	build(t, filepath.Join(folder, "chandler"))
	admin, broker := cloud.Identity.Admin(), cloud.Identity.Broker()
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.Join(blocks[:4], "\n")+serve+blocks[4])
	shell.Dir = folder
	shell.Env = append(os.Environ(),
		"PATH="+cloud.Programs()+":"+folder+":"+os.Getenv("PATH"),
		"OS_AUTH_URL="+cloud.Identity.AuthURL(), "OS_IDENTITY_API_VERSION=3", "OS_USERNAME="+admin.Name, "OS_PASSWORD="+admin.Password,
		"OS_PROJECT_NAME="+admin.Project, "OS_USER_DOMAIN_NAME="+admin.Domain, "OS_PROJECT_DOMAIN_NAME="+admin.Domain, "OS_REGION_NAME="+cloud.Identity.Region(),
		"OPENSTACK_PASSWORD="+broker.Password, "BROKER=http://"+address, "CHANDLER_LISTEN="+address,
		"CHANDLER_USERNAME=platform", "CHANDLER_PASSWORD="+rand.Text(), "CHANDLER_CATALOG=catalog.yml",
		"DATABASE_URL="+embeddedtest.Database(t), "CHANDLER_SEALED_KEY="+base64.StdEncoding.EncodeToString(services.RandomKey()),
		"DESIGNATE_HOST="+cloud.DNS.NameServer.Host(), "DESIGNATE_PORT="+cloud.Variables()["DESIGNATE_PORT"],
	)
	if out, err := shell.CombinedOutput(); err != nil || !strings.Contains(string(out), "ok: 1 plan(s) proved") {
		t.Errorf("%v\n%s", err, out)
	}
}

// serve starts the broker.
const serve = `
chandler migrate >/dev/null
chandler serve 2>broker.log & broker=$!
trap 'status=$?; [ $status = 0 ] || tail -30 broker.log; kill $broker; wait $broker' EXIT
until [ "$(curl -s -o /dev/null -w '%{http_code}' "$BROKER/readyz")" = 200 ]; do kill -0 $broker; sleep 0.2; done
`

func build(t *testing.T, program string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "../cmd/chandler")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
