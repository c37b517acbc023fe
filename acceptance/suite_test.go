// Package acceptance_test tests Chandler the way its users meet it: the real binary
// in real processes, on real servers, over HTTP. README.md describes its variables.
package acceptance_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/openstack"
)

func TestMain(m *testing.M) {
	rig.BeServer()
	os.Exit(m.Run())
}

func TestAcceptance(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Acceptance")
	for _, failure := range failures {
		t.Log(failure)
	}
}

// failures are logged again after Ginkgo's report, whose summary says where a spec
// failed but not why. Some logs keep only the end, so each has one short line there.
var failures []string

// shortFailure is how many bytes of a failure's message its short line has.
const shortFailure = 500

var _ = ReportAfterSuite("failures", func(r Report) {
	var short []string
	for _, spec := range r.SpecReports {
		if !spec.Failed() {
			continue
		}
		message := spec.FailureMessage()
		failures = append(failures, spec.FullText()+"\n"+message)
		line := strings.Join(strings.Fields(message), " ")
		short = append(short, spec.FullText()+": "+line[:min(len(line), shortFailure)])
	}
	failures = append(failures, short...)
})

// Shared by all specs, and created once. Ginkgo can pass values from BeforeSuite to specs
// only in variables.
var (
	folder      string
	program     string // with the race detector
	plain       string // without it, for compiling functions
	vaultBinary string
)

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	folder, err = os.MkdirTemp("", "chandler-acceptance-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(os.RemoveAll(folder)).To(Succeed()) })
	Expect(os.Chmod(folder, 0o711)).To(Succeed()) // another user runs the binary in one spec
	program, err = rig.Build(ctx, folder, true)
	Expect(err).NotTo(HaveOccurred())
	plain, err = rig.Build(ctx, folder, false)
	Expect(err).NotTo(HaveOccurred())
	Expect(rig.PlaceFunctions(ctx, folder, GinkgoWriter)).To(Succeed())
	vaultBinary, err = embedded.BuildVault(ctx, GinkgoWriter)
	if errors.Is(err, embedded.ErrNoVault) && os.Getenv("CI") != "true" {
		Skip(err.Error())
	}
	Expect(err).NotTo(HaveOccurred())
}, NodeTimeout(20*time.Minute))

// The services and plans of the shipped catalog.
const (
	database = "6a610227-e962-401b-9971-d14a580514be"
	small    = "c958ee6e-0bb5-4005-a6f8-9635713f1c1d"
	medium   = "0940119d-1dba-404e-a782-80daeb2a5ba2"
)

// deploy starts a deployment that ends with the surrounding container.
func deploy(ctx context.Context, o rig.Options) *rig.Deployment {
	GinkgoHelper()
	dir, err := os.MkdirTemp(folder, "deployment-")
	Expect(err).NotTo(HaveOccurred())
	o.Binary, o.Dir = program, dir
	d, err := rig.Deploy(ctx, o)
	if openstack.NotInstalled(err) && os.Getenv("CI") != "true" {
		Skip(err.Error())
	}
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		if CurrentSpecReport().Failed() {
			tellLogs(d)
		}
		Expect(d.Close()).To(Succeed())
	})
	return d
}

// tellLogs adds to a failure what the brokers logged about the IDs in it, and the ends of the
// brokers' and the servers' logs.
func tellLogs(d *rig.Deployment) {
	logs, _ := filepath.Glob(filepath.Join(d.Dir, "*.err"))
	servers, _ := filepath.Glob(filepath.Join(d.Dir, "*", "*.log"))
	about := aboutAny(CurrentSpecReport().FailureMessage())
	for _, log := range append(logs, servers...) {
		text, _ := os.ReadFile(log)
		name, _ := filepath.Rel(d.Dir, log)
		fmt.Fprintf(GinkgoWriter, "--- the end of %s:\n%s\n", name, text[max(0, len(text)-6000):])
		for line := range strings.Lines(string(text)) {
			if about(line) {
				fmt.Fprintf(GinkgoWriter, "%s: %s", name, line)
			}
		}
	}
}

// identifier matches the IDs of instances, bindings and operations.
var identifier = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// aboutAny returns a function that reports whether a line contains any of the failure's IDs; of a
// list that differs from the expected one, only those of the difference.
func aboutAny(failure string) func(line string) bool {
	if at := difference.FindStringIndex(failure); at != nil {
		failure = failure[at[0]:]
	}
	ids := identifier.FindAllString(failure, -1)
	return func(line string) bool {
		return slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(line, id) })
	}
}

// difference begins what Gomega's ConsistOf says of the elements that only one list has.
var difference = regexp.MustCompile("the (missing|extra) elements were")

func addBroker(ctx context.Context, d *rig.Deployment, name string, more map[string]string) *rig.Broker {
	GinkgoHelper()
	b, err := d.AddBroker(ctx, name, more)
	Expect(err).NotTo(HaveOccurred())
	return b
}

func clientOf(b *rig.Broker) *osbclient.Client {
	GinkgoHelper()
	c, err := b.Client(osbclient.Options{MaxRetryAfter: 200 * time.Millisecond})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// verb runs a command of chandler, which must exit with the code, and returns its output.
func verb(ctx context.Context, d *rig.Deployment, code int, args ...string) string {
	GinkgoHelper()
	r, err := d.Verb(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	Expect(r.Code).To(Equal(code), "chandler %v\n%s%s", args, r.Stdout, r.Stderr)
	return r.Stdout + r.Stderr
}

// complaint matches the log lines of the race detector and of panics.
var complaint = regexp.MustCompile(`(?s)(WARNING: DATA RACE|panic).{0,900}`)

// vaultToken matches a token that a broker got from Vault at login.
var vaultToken = regexp.MustCompile(`hv[sbr]\.[A-Za-z0-9_-]{20,}`)

// expectOrderlyEnd checks a deployment after its specs: no data race, no panic, and no
// secret in a wrong place.
func expectOrderlyEnd(ctx context.Context, d *rig.Deployment) {
	GinkgoHelper()
	places, err := d.Places(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, text := range places[rig.Outputs] {
		Expect(complaint.FindString(text)).To(BeEmpty())
	}
	for place, texts := range places {
		for _, text := range texts {
			Expect(vaultToken.FindString(text)).To(BeEmpty(), place)
		}
	}
	AddReportEntry("secrets", fmt.Sprintf("%d searched for", d.Secrets.Len()))
	Expect(rig.Search(d.Secrets.Finder(), places)).To(BeEmpty())
}
