package forum_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/all"
)

// story is an application's life.
type story struct {
	*narrator
	dir      string
	d        *rig.Deployment
	brokers  []*rig.Broker
	platform *platform

	database, queue, zone, files, functions *service

	forum *rig.Process
	name  string // the forum's, in DNS
	v     *visitor
	crowd *crowd
	first string // the path of the first member's page
}

var _ = Describe("An application on all five families", Ordered, func() {
	s := &story{narrator: newNarrator()}
	step := func(name string, body func(context.Context)) {
		It(name, s.step(name, body), NodeTimeout(15*time.Minute))
	}
	wait := func(name string, body func(context.Context)) { It(name, s.step(name, body)) }
	BeforeAll(s.step("servers of five families, two brokers, a runtime of functions", s.setUp), NodeTimeout(20*time.Minute))
	step("a service of each family, made through the broker", s.provision)
	step("each of them bound", s.bind)
	step("the forum, started with nothing but these credentials", s.start)
	step("its name, which the zone's server answers", s.resolve)
	step("a visitor registers, and the page shows the small picture", s.register)
	step("the largest photograph that is taken, in the most wasteful form, does with a function's memory", s.large)
	step("a photograph that would fill the memory is refused, and its member told why", s.hostile)
	step("visitors come and go", s.open)
	step("the credentials of all services, replaced one by one, and a replica of the broker killed", s.rotate)
	step("a worker that runs functions, killed", s.killWorker)
	step("visitors leave: no request failed and no photograph was lost", s.close)
	wait("the page, to be looked at", s.keep)
	step("everything unbound and deprovisioned", s.deprovision)
	step("a search, which finds nothing left", s.search)
})

// families are the backends that the story needs.
var families = []string{"postgres", "nats", "powerdns", "s3", "functions"}

func (s *story) setUp(ctx context.Context) {
	s.say("builds what it needs; the first time that takes some minutes")
	var err error
	s.dir, err = os.MkdirTemp("", "chandler-forum-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(os.RemoveAll(s.dir)).To(Succeed()) })
	Expect(os.Chmod(s.dir, 0o711)).To(Succeed()) // servers run as users of their own
	binary, err := rig.Build(ctx, s.dir, false)  // with the race detector code takes a minute to compile, in the runtime
	Expect(err).NotTo(HaveOccurred())
	Expect(build(ctx, s.dir)).To(Succeed())
	s.d, err = rig.Deploy(ctx, rig.Options{Binary: binary, Dir: filepath.Join(s.dir, "deployment"), Backends: families})
	if embedded.NotInstalled(err) && os.Getenv("CI") != "true" {
		Skip(err.Error())
	}
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		if CurrentSpecReport().Failed() {
			s.tellLogs()
		}
		if s.forum != nil {
			s.forum.Kill()
		}
		Expect(s.d.Close()).To(Succeed())
	})
	for _, name := range []string{"one", "two"} {
		b, err := s.d.AddBroker(ctx, name, nil)
		Expect(err).NotTo(HaveOccurred())
		s.brokers = append(s.brokers, b)
	}
	s.platform, err = newPlatform(ctx, s.d, filepath.Join(s.dir, "bindings", "root"), s.brokers...)
	Expect(err).NotTo(HaveOccurred())
}

// tellLogs shows the ends of the processes' logs beside a failure.
func (s *story) tellLogs() {
	logs, _ := filepath.Glob(filepath.Join(s.d.Dir, "*.err")) // the pattern is good
	for _, log := range append(logs, filepath.Join(s.d.Dir, "functions", "functions.log")) {
		text, _ := os.ReadFile(log)
		fmt.Fprintf(GinkgoWriter, "--- the end of %s:\n%s\n", filepath.Base(log), text[max(0, len(text)-6000):])
	}
	fmt.Fprintf(GinkgoWriter, "--- activations:\n%s\n", s.activations())
}

// activations are the latest records of the functions.
func (s *story) activations() string {
	if s.functions == nil || s.functions.credentials == nil {
		return "none"
	}
	request, err := http.NewRequest(http.MethodGet, fmt.Sprint(s.functions.credentials["api_host"], "/api/v1/namespaces/_/activations?docs=true&limit=20"), nil)
	if err != nil {
		return err.Error()
	}
	user, password, _ := strings.Cut(fmt.Sprint(s.functions.credentials["auth"]), ":")
	request.SetBasicAuth(user, password)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return fmt.Sprint(string(text), err)
}

// zoneName is what the forum is given below the operator's domain.
const zoneName = "harbour.apps.example.com"

func (s *story) provision(ctx context.Context) {
	for _, one := range []struct {
		to                   **service
		name, offering, plan string
		parameters           func() map[string]any
	}{
		{&s.database, "database", "database", "postgres-small", nil},
		{&s.queue, "queue", "queue", "nats-small", nil},
		{&s.zone, "zone", "dns", "zone", func() map[string]any { return map[string]any{"zone": zoneName} }},
		{&s.files, "files", "filesystem", "bucket-small", nil},
		{&s.functions, "functions", "function", "wasm-small", func() map[string]any {
			return map[string]any{"mounts": []any{map[string]any{"instance": s.files.id, "path": "/photographs"}}}
		}},
	} {
		made, err := s.platform.find(one.name, one.offering, one.plan)
		Expect(err).NotTo(HaveOccurred())
		var parameters map[string]any
		if one.parameters != nil {
			parameters = one.parameters()
		}
		began := time.Now()
		Expect(s.platform.provision(ctx, made, parameters)).To(Succeed())
		s.say("    %s (%s): %s", one.name, one.plan, time.Since(began).Round(time.Millisecond))
		*one.to = made
	}
}

func (s *story) services() []*service {
	return []*service{s.database, s.queue, s.zone, s.files, s.functions}
}

func (s *story) bind(ctx context.Context) {
	for _, one := range s.services() {
		began := time.Now()
		Expect(s.platform.bind(ctx, one)).To(Succeed())
		s.say("    %s: %s", one.name, time.Since(began).Round(time.Millisecond))
	}
}

func (s *story) start(ctx context.Context) {
	address, err := rig.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	host, port, err := net.SplitHostPort(address)
	Expect(err).NotTo(HaveOccurred())
	s.forum, err = rig.Start(rig.Command{
		Name: "forum", Path: filepath.Join(s.dir, "forum"), Dir: s.d.Dir,
		Args: []string{"-functions", filepath.Join(s.dir, "functions"), "-listen", address, "-address", host},
		Env:  []string{"SERVICE_BINDING_ROOT=" + s.platform.root},
	})
	Expect(err).NotTo(HaveOccurred())
	s.name = "forum." + zoneName
	s.v = newVisitor(s.name, port, s.nameServer())
	direct := newVisitor("", "", "")
	direct.client.Transport, direct.url = nil, "http://"+address
	Eventually(func() error { return s.connected(ctx, direct) }).WithTimeout(3 * time.Minute).WithPolling(50 * time.Millisecond).Should(Succeed())
}

// connected says what the forum lacks.
func (s *story) connected(ctx context.Context, v *visitor) error {
	if err := s.forum.Ended(); err != nil {
		return StopTrying("the forum ended").Wrap(err)
	}
	all, err := v.status(ctx)
	if err != nil {
		return err
	}
	for name, one := range all {
		if one.Identity == "" {
			err = errors.Join(err, fmt.Errorf("%s: %s", name, one.Fault))
		}
	}
	return err
}

// nameServer is the zone's server, as the binding has it.
func (s *story) nameServer() string {
	return net.JoinHostPort(fmt.Sprint(s.zone.credentials["host"]), fmt.Sprint(s.zone.credentials["port"]))
}

func (s *story) resolve(ctx context.Context) {
	ip, err := lookUp(ctx, s.nameServer(), s.name)
	Expect(err).NotTo(HaveOccurred())
	Expect(ip).To(Equal("127.0.0.1"))
	s.say("    %s is %s", s.name, ip)
	_, err = lookUp(ctx, s.nameServer(), "nobody."+zoneName)
	Expect(err).To(MatchError(ContainSubstring("NXDOMAIN")))
}

func (s *story) register(ctx context.Context) {
	var err error
	s.first, err = s.v.join(ctx, "Ada", photo(1600, 1000))
	Expect(err).NotTo(HaveOccurred())
	s.say("    the page is %s%s", s.v.url, s.first)
	Eventually(s.pictured).WithArguments(ctx, s.first).WithTimeout(3 * time.Minute).WithPolling(20 * time.Millisecond).Should(BeTrue())
	content, err := s.v.get(ctx, s.first+"/picture")
	Expect(err).NotTo(HaveOccurred())
	small, err := jpeg.Decode(bytes.NewReader([]byte(content)))
	Expect(err).NotTo(HaveOccurred())
	Expect(small.Bounds().Dx()).To(Equal(320))
	Expect(small.Bounds().Dy()).To(Equal(320))
	for _, corner := range [][2]int{{10, 10}, {310, 10}, {160, 160}, {10, 310}, {310, 310}} { // the red middle, and nothing of the blue borders
		r, _, b, _ := small.At(corner[0], corner[1]).RGBA()
		Expect(r>>8).To(BeNumerically(">", 220), "%v", corner)
		Expect(b>>8).To(BeNumerically("<", 50), "%v", corner)
	}
	s.say("    of 1600 by 1000 pixels there are 320 by 320 left, %d bytes", len(content))
}

// pictured says whether a member's page shows a picture.
func (s *story) pictured(ctx context.Context, path string) (bool, error) {
	page, err := s.v.get(ctx, path)
	return strings.Contains(page, `<img src="`+path+`/picture"`), err
}

func (s *story) large(ctx context.Context) {
	var file bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	Expect(encoder.Encode(&file, image.NewNRGBA64(image.Rect(0, 0, 4096, 4096)))).To(Succeed())
	path, err := s.v.join(ctx, "Katherine", file.Bytes())
	Expect(err).NotTo(HaveOccurred())
	Eventually(s.pictured).WithArguments(ctx, path).WithTimeout(3 * time.Minute).WithPolling(50 * time.Millisecond).Should(BeTrue())
}

// hostile is a photograph of a few hundred bytes that says that it has the most
// pixels that its format can say.
func (s *story) hostile(ctx context.Context) {
	bomb := photo(16, 16)
	frame := bytes.Index(bomb, []byte{0xff, 0xc0}) // start of frame (ITU T.81, B.2.2): height and width follow at 5
	Expect(frame).To(BeNumerically(">", 0))
	copy(bomb[frame+5:], []byte{0xff, 0xff, 0xff, 0xff})
	path, err := s.v.join(ctx, "Mallory", bomb)
	Expect(err).NotTo(HaveOccurred())
	Eventually(s.v.get).WithArguments(ctx, path).WithTimeout(3 * time.Minute).WithPolling(50 * time.Millisecond).
		Should(ContainSubstring("65535 by 65535 pixels"))
}

func (s *story) open(ctx context.Context) {
	s.crowd = gather(context.WithoutCancel(ctx), s.v, photo(800, 600))
	Eventually(s.crowd.served.Load).WithTimeout(time.Minute).Should(BeNumerically(">", 50))
}

// onward waits until visitors were served for a while longer.
func (s *story) onward() {
	GinkgoHelper()
	seen := s.crowd.served.Load()
	Eventually(s.crowd.served.Load).WithTimeout(time.Minute).Should(BeNumerically(">", seen+20))
}

func (s *story) rotate(ctx context.Context) {
	uses := map[*service][]string{ // in the words of the forum's status
		s.database: {"database"}, s.queue: {"queue", "functions"}, s.zone: {"name"}, s.files: {"bucket"}, s.functions: {"functions"},
	}
	for _, one := range s.services() {
		began := time.Now()
		before, err := s.v.status(ctx)
		Expect(err).NotTo(HaveOccurred())
		if one == s.queue {
			s.killBroker(ctx, func() { Expect(s.platform.bind(ctx, one)).To(Succeed()) })
		} else {
			Expect(s.platform.bind(ctx, one)).To(Succeed())
		}
		Eventually(func() error { return s.wentOver(ctx, before, uses[one]) }).
			WithTimeout(3 * time.Minute).WithPolling(50 * time.Millisecond).Should(Succeed())
		Expect(s.platform.retire(ctx, one)).To(Succeed())
		Expect(s.dial(ctx, one.formerKeys)).To(refused, "the former credentials of the %s", one.name)
		Expect(s.dial(ctx, one.credentials)).To(Succeed(), "the credentials of the %s", one.name)
		s.onward()
		s.say("    %s: %s", one.name, time.Since(began).Round(time.Millisecond))
	}
	Expect(s.brokers[0].Start(ctx)).To(Succeed())
}

// killBroker ends the replica that the platform asks first when it has accepted a
// bind and not ended it. The platform goes on with the other one.
func (s *story) killBroker(ctx context.Context, bind func()) {
	conn, err := pgx.Connect(ctx, s.d.StateURL)
	Expect(err).NotTo(HaveOccurred())
	defer conn.Close(context.WithoutCancel(ctx))
	bound := make(chan struct{})
	go func() {
		defer GinkgoRecover()
		defer close(bound)
		bind()
	}()
	accepted := false
	for over := false; !over && !accepted; {
		select {
		case <-bound:
			over = true // too fast: it dies with nothing in hand
		default:
			err := conn.QueryRow(ctx, "select exists (select from operations where kind = 'bind' and state = 'in progress')").Scan(&accepted)
			Expect(err).NotTo(HaveOccurred())
		}
	}
	s.brokers[0].Kill()
	s.say("    a replica of the broker was killed; with a bind in hand: %t", accepted)
	<-bound
}

// wentOver says which of the forum's connections still have the credentials that
// they had before.
func (s *story) wentOver(ctx context.Context, before map[string]standing, names []string) error {
	now, err := s.v.status(ctx)
	for _, name := range names {
		if now[name].Identity == before[name].Identity || now[name].Retiring > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %+v", name, now[name]))
		}
	}
	return err
}

// refused is an error that is no answer which came too late.
var refused = And(HaveOccurred(), Not(MatchError(context.DeadlineExceeded)))

// dial uses credentials as their backend's own client does.
func (s *story) dial(ctx context.Context, credentials map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, d := range all.Definitions() {
		if d.CredentialType != credentials["type"] {
			continue
		}
		session, err := d.Dial(ctx, credentials)
		if err != nil {
			return err
		}
		return errors.Join(session.Ping(ctx), session.Close())
	}
	return fmt.Errorf("no backend has credentials of type %v", credentials["type"])
}

func (s *story) close(ctx context.Context) {
	members, err := s.crowd.leave()
	Expect(err).NotTo(HaveOccurred())
	Expect(len(members)).To(BeNumerically(">", 3))
	for _, path := range members {
		Eventually(s.pictured).WithArguments(ctx, path).WithTimeout(3*time.Minute).WithPolling(50*time.Millisecond).Should(BeTrue(), path)
	}
	s.say("    %d requests, %d photographs", s.crowd.served.Load(), len(members))
}

// keep lets the page be looked at until whoever runs the story says so.
func (s *story) keep(ctx context.Context) {
	if os.Getenv("FORUM_KEEP") != "1" {
		return
	}
	address := s.v.url
	if ip, err := lookUp(ctx, s.nameServer(), s.name); err == nil {
		_, port, _ := strings.Cut(strings.TrimPrefix(s.v.url, "http://"), ":")
		address = "http://" + net.JoinHostPort(ip, port)
	}
	s.say("The forum is at %s. Press Enter to take it all down.", address)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = os.Stdin.Read(make([]byte, 1)) // its end is as good as a line
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

func (s *story) deprovision(ctx context.Context) {
	code, err := s.forum.Stop(time.Minute)
	Expect(err).NotTo(HaveOccurred())
	Expect(code).To(BeZero(), s.forum.Stderr())
	list := s.services()
	for _, one := range list {
		Expect(s.platform.unbind(ctx, one, one.binding)).To(Succeed())
		Expect(s.dial(ctx, one.credentials)).To(refused, one.name)
	}
	for i := range list { // functions first: they use the files
		one := list[len(list)-1-i]
		began := time.Now()
		Expect(s.platform.deprovision(ctx, one)).To(Succeed())
		s.say("    %s: %s", one.name, time.Since(began).Round(time.Millisecond))
	}
}
