package acceptance_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// devRun is a "chandler dev" on one folder, and an application that uses it.
type devRun struct {
	program       string
	address, data string
	only          string // the backends that it serves; empty: all that are installed
	env           map[string]string
	user          *syscall.Credential
	process       *rig.Process
	client        *osbclient.Client
	instance      string
	credentials   map[string]any
}

// endTime is how long "chandler dev" may take to exit after SIGTERM.
const endTime = 10 * time.Second

func newDevRun() *devRun {
	GinkgoHelper()
	address, err := rig.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	data, err := os.MkdirTemp(folder, "dev-") // like mktemp -d: inaccessible to others
	Expect(err).NotTo(HaveOccurred())
	r := &devRun{program: plain, address: address, data: data, env: map[string]string{"PATH": os.Getenv("PATH"), "HOME": data, "TMPDIR": data}}
	DeferCleanup(r.end)
	return r
}

// becomeNobody runs it as an unprivileged user if the suite runs as root.
func (r *devRun) becomeNobody() {
	GinkgoHelper()
	if os.Geteuid() != 0 {
		return
	}
	nobody, err := user.Lookup("nobody")
	Expect(err).NotTo(HaveOccurred())
	uid, _ := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, _ := strconv.ParseUint(nobody.Gid, 10, 32)
	r.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	Expect(os.Chown(r.data, int(uid), int(gid))).To(Succeed())
}

func (r *devRun) url() string { return "http://" + r.address }

func (r *devRun) command(name string, args ...string) rig.Command {
	c := rig.Command{Name: name, Path: r.program, Args: args, Dir: r.data, User: r.user}
	for key, value := range r.env {
		c.Env = append(c.Env, key+"="+value)
	}
	return c
}

// start starts it and waits for the line "ready".
func (r *devRun) start(ctx context.Context) {
	GinkgoHelper()
	Expect(os.RemoveAll(filepath.Join(r.data, "dev.out"))).To(Succeed())
	var err error
	r.process, err = rig.Start(r.command("dev", "dev", "--listen", r.address, "--data", filepath.Join(r.data, "data"), "--only", r.only))
	Expect(err).NotTo(HaveOccurred())
	Eventually(ctx, r.process.Stdout).WithTimeout(time.Minute).Should(SatisfyAny(
		MatchRegexp(`(?m)^ready: `+regexp.QuoteMeta(r.url())+`$`), WithTransform(func(string) error { return r.process.Ended() }, HaveOccurred())))
	Expect(r.process.Ended()).NotTo(HaveOccurred())
	username, password := r.env["CHANDLER_USERNAME"], r.env["CHANDLER_PASSWORD"]
	if password == "" {
		username = field(r.process.Stderr(), "user")
		password = field(r.process.Stderr(), "password")
	}
	r.client, err = osbclient.New(osbclient.Options{URL: r.url(), Username: username, Password: password})
	Expect(err).NotTo(HaveOccurred())
}

// field reads "name: value" from the output of "chandler dev".
func field(text, name string) string {
	GinkgoHelper()
	m := regexp.MustCompile(`(?m)^` + name + `: (.+)$`).FindStringSubmatch(text)
	Expect(m).NotTo(BeNil(), "%s in %s", name, text)
	return m[1]
}

func (r *devRun) end() {
	if r.process == nil {
		return
	}
	children := rig.Descendants(r.process.PID())
	r.process.Kill()
	Eventually(func() []rig.Identity { return rig.Alive(children) }).WithTimeout(endTime).Should(BeEmpty())
}

// stop sends SIGTERM. Everything must exit in time and successfully.
func (r *devRun) stop() {
	GinkgoHelper()
	children := rig.Descendants(r.process.PID())
	Expect(children).NotTo(BeEmpty())
	code, err := r.process.Stop(endTime)
	Expect(err).NotTo(HaveOccurred())
	Expect(code).To(Equal(0), r.process.Stderr())
	Expect(rig.Alive(children)).To(BeEmpty())
}

// use provisions, binds and writes.
func (r *devRun) use(ctx context.Context) {
	GinkgoHelper()
	r.instance = uuid.NewString()
	_, err := r.client.Provision(ctx, r.instance, osbclient.ProvisionRequest{
		ServiceID: database, PlanID: small, OrganizationGUID: "org", SpaceGUID: "space",
	})
	Expect(err).NotTo(HaveOccurred())
	made, err := r.client.Bind(ctx, r.instance, "binding", osbclient.BindRequest{ServiceID: database, PlanID: small})
	Expect(err).NotTo(HaveOccurred())
	r.credentials = made.Credentials
	conn := connect(ctx, r.credentials)
	run(ctx, conn, `create table kept (what text)`)
	run(ctx, conn, `insert into kept values ('cargo')`)
}

// goesOn checks that the platform and the application find the instance unchanged.
func (r *devRun) goesOn(ctx context.Context) {
	GinkgoHelper()
	fetched, err := r.client.FetchBinding(ctx, r.instance, "binding", "", "")
	Expect(err).NotTo(HaveOccurred())
	Expect(fetched.Credentials).To(Equal(r.credentials))
	Expect(ask[string](ctx, connect(ctx, r.credentials), `select what from kept`)).To(Equal("cargo"))
}

func (r *devRun) verb(ctx context.Context, code int, args ...string) string {
	GinkgoHelper()
	result, err := rig.Run(ctx, r.command("verbs", append(args, "--data", filepath.Join(r.data, "data"))...))
	Expect(err).NotTo(HaveOccurred())
	Expect(result.Code).To(Equal(code), "%v: %s%s", args, result.Stdout, result.Stderr)
	return result.Stdout
}

var _ = Describe("chandler dev", func() {
	It("goes on with the same instances, however it ended", proveContinuation)
	It("runs side by side on folders of their own", proveNeighbours)
	It("lets operators look whether it runs or not", proveVerbs)
	It("proves itself with smoke", proveSmoke)
	It("keeps its secrets to its user", proveDevSecrets)
})

// proveContinuation runs as an unprivileged user even if the suite runs as root; the
// other specs run as root.
func proveContinuation(ctx SpecContext) {
	r := newDevRun()
	r.becomeNobody()
	r.start(ctx)
	r.use(ctx)
	r.stop()
	r.start(ctx)
	r.goesOn(ctx)

	By("kill -9 of the process")
	children := rig.Descendants(r.process.PID())
	r.process.Kill()
	r.start(ctx) // at once: the first one's servers may still be exiting
	r.goesOn(ctx)
	Expect(rig.Alive(children)).To(BeEmpty())

	By("kill -9 of its servers, after which it exits")
	for _, id := range rig.Descendants(r.process.PID()) {
		_ = syscall.Kill(id.PID, syscall.SIGKILL)
	}
	Expect(r.process.Wait(ctx)).To(Equal(1))
	Expect(r.process.Stderr()).To(ContainSubstring("ended: "))
	r.start(ctx)
	r.goesOn(ctx)

	By("kill -9 of everything")
	children = rig.Descendants(r.process.PID())
	r.process.Signal(syscall.SIGSTOP)
	for _, id := range children {
		_ = syscall.Kill(id.PID, syscall.SIGKILL)
	}
	r.process.Kill()
	r.start(ctx)
	r.goesOn(ctx)
	Expect(r.verb(ctx, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`))
	r.stop()
}

func proveNeighbours(ctx SpecContext) {
	one, other := newDevRun(), newDevRun()
	one.start(ctx)
	other.start(ctx)
	one.use(ctx)
	other.use(ctx)
	fetched, err := other.client.FetchInstance(ctx, one.instance, "", "")
	Expect(err).To(HaveOccurred())
	Expect(fetched.Status).To(Equal(404))
	one.stop()
	other.goesOn(ctx)

	By("refusing to start a third one on a folder in use")
	result, err := rig.Run(ctx, other.command("third", "dev", "--listen", one.address, "--data", filepath.Join(other.data, "data")))
	Expect(err).NotTo(HaveOccurred())
	Expect(result.Code).To(Equal(2), result.Stderr)
	other.stop()
}

func proveVerbs(ctx SpecContext) {
	r := newDevRun()
	r.only = "database/postgres,queue/nats"
	r.start(ctx)
	r.use(ctx)
	look := func() {
		GinkgoHelper()
		Expect(r.verb(ctx, 0, "instances", "show", r.instance)).To(And(ContainSubstring("provision"), ContainSubstring("binding")))
		Expect(r.verb(ctx, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`))
	}
	look()
	Expect(r.verb(ctx, 0, "instances", "list")).To(ContainSubstring(r.instance))
	Expect(r.verb(ctx, 0, "bindings", "show", "binding")).To(ContainSubstring("credentials at"))
	Expect(r.verb(ctx, 0, "operations", "list", "--unfinished", "--output", "json")).To(MatchJSON(`[]`))
	r.stop()
	look()
	r.start(ctx)
	r.goesOn(ctx)

	By("forgetting an instance, whose database becomes an orphan")
	r.verb(ctx, 2, "instances", "forget", r.instance)
	r.verb(ctx, 0, "instances", "forget", r.instance, "--force")
	Expect(r.verb(ctx, 1, "orphans")).To(ContainSubstring("orphan"))
	Expect(r.verb(ctx, 0, "instances", "show", r.instance)).To(ContainSubstring("forget"))
	r.verb(ctx, 0, "orphans", "--remove")
	Expect(r.verb(ctx, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`))
	r.stop()

	By("refusing to serve without a backend that has instances")
	r.start(ctx)
	r.use(ctx)
	r.stop()
	result, err := rig.Run(ctx, r.command("without", "dev", "--listen", r.address, "--data", filepath.Join(r.data, "data"), "--only", "queue/nats"))
	Expect(err).NotTo(HaveOccurred())
	Expect(result.Code).To(Equal(2))
	Expect(result.Stderr).To(And(ContainSubstring("has 1 instance(s)"), ContainSubstring("--only leaves them out")))
	result, err = rig.Run(ctx, r.command("unknown", "dev", "--data", filepath.Join(r.data, "data"), "--only", "database/oracle"))
	Expect(err).NotTo(HaveOccurred())
	Expect(result.Code).To(Equal(2))
	Expect(result.Stderr).To(ContainSubstring("database/mysql, queue/nats"))
	r.start(ctx)
	r.goesOn(ctx)
	r.stop()
}

func proveSmoke(ctx SpecContext) {
	r := newDevRun()
	r.env["CHANDLER_USERNAME"], r.env["CHANDLER_PASSWORD"] = "somebody", uuid.NewString()
	r.start(ctx)
	result, err := rig.Run(ctx, r.command("smoke", "smoke", "--url", r.url(), "--output", "json"))
	Expect(err).NotTo(HaveOccurred())
	Expect(result.Code).To(Equal(0), result.Stdout+result.Stderr)
	Expect(r.verb(ctx, 0, "instances", "list", "--output", "json")).To(MatchJSON(`[]`))
	Expect(r.verb(ctx, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`))
	r.stop()
	r.process, err = rig.Start(r.command("once", "dev", "--listen", r.address, "--data", filepath.Join(r.data, "data"), "--smoke", "--once"))
	Expect(err).NotTo(HaveOccurred())
	Expect(r.process.Wait(ctx)).To(Equal(0), r.process.Stdout()+r.process.Stderr())
}

func proveDevSecrets(ctx SpecContext) {
	r := newDevRun()
	r.program = program // only this spec runs dev with the race detector
	r.start(ctx)
	r.use(ctx)
	password := field(r.process.Stderr(), "password")
	r.stop()
	var secrets rig.Ledger
	secrets.Add("the platform's password", password)
	Expect(secrets.AddCredentials("the binding", r.credentials)).To(Succeed())
	finder := secrets.Finder()
	Expect(os.Remove(filepath.Join(r.data, "dev.err"))).To(Succeed()) // contains the password, for the user
	Expect(filepath.WalkDir(r.data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if path != r.data && info.Mode().Perm()&0o077 != 0 && filepath.Dir(path) == filepath.Join(r.data, "data") {
			return fmt.Errorf("%s is accessible to other users: %s", path, info.Mode())
		}
		if entry.Type().IsRegular() && entry.Name() != "settings.json" {
			text, err := os.ReadFile(path)
			if found := finder.Find(string(text)); err != nil || len(found) > 0 {
				return fmt.Errorf("%s holds %v: %w", path, found, err)
			}
		}
		return nil
	})).To(Succeed())
}
