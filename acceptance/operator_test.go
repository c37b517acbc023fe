package acceptance_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// watched is a broker as its operator sees it.
type watched struct {
	d          *rig.Deployment
	broker     *rig.Broker
	client     *osbclient.Client
	prometheus *rig.Prometheus
	instance   string
}

var _ = Describe("An operator", Ordered, func() {
	w := &watched{}
	BeforeAll(func(ctx SpecContext) {
		w.d = deploy(ctx, rig.Options{Vault: vaultBinary, Environment: map[string]string{"CHANDLER_ASYNC_WAIT": "1s", "CHANDLER_SYNC_WAIT": "3s"}})
		w.broker = addBroker(ctx, w.d, "broker", nil)
		w.client = clientOf(w.broker)
		w.watch(ctx)
		w.instance = uuid.NewString()
		made, err := w.client.Provision(ctx, w.instance, provisionSmall())
		Expect(err).NotTo(HaveOccurred())
		Expect(made.Status).To(Equal(http.StatusCreated))
	})
	It("sees that everything is ready", func(ctx SpecContext) {
		code, body, err := w.broker.Page(ctx, "/healthz")
		Expect(err).NotTo(HaveOccurred())
		Expect([]any{code, body}).To(Equal([]any{http.StatusOK, "ok\n"}))
		Expect(w.ready(ctx)).To(Equal(map[string]string{"state database": "", "credential store": "", "backend postgres": ""}))
		Consistently(func() ([]rig.Alert, error) { return w.prometheus.Firing(ctx) }).WithTimeout(4 * time.Second).Should(BeEmpty())
	})
	It("learns that Vault is sealed, while the rest works", w.sealed)
	It("learns that the tenants' server is down, while the rest works", w.tenantsDown)
	It("finds an operation undone for which the client did not wait long enough", w.undone)
	It("learns that the state is down, while the catalog is served", w.stateDown)
	It("reads metrics under fixed names", w.metrics)
	It("checks catalogs before the broker serves them", w.catalogs)
	It("limits the number of instances", w.quotas)
	It("runs two releases of the catalog side by side", w.upgrade)
	It("detects a broken broker with smoke, which cleans up", w.smoke)
	It("reads who changed what and when", w.audit)
	It("leaves no secret in a wrong place", func(ctx SpecContext) { expectOrderlyEnd(ctx, w.d) })
})

func provisionSmall() osbclient.ProvisionRequest {
	return osbclient.ProvisionRequest{ServiceID: database, PlanID: small, OrganizationGUID: "org", SpaceGUID: "space", AcceptsIncomplete: true}
}

// watch starts a Prometheus with the shipped alert rules. It has scraped the broker
// before anything goes wrong, as in production.
func (w *watched) watch(ctx context.Context) {
	GinkgoHelper()
	dir, err := os.MkdirTemp(folder, "prometheus-")
	Expect(err).NotTo(HaveOccurred())
	w.prometheus, err = rig.StartPrometheus(ctx, dir, filepath.Join("..", "deploy", "helm", "chandler", "alerts.yml"), w.broker)
	if errors.Is(err, rig.ErrNoPrometheus) && os.Getenv("CI") != "true" {
		Skip(err.Error())
	}
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.prometheus.Close)
	By("waiting until ChandlerAbsent no longer fires")
	Eventually(func() ([]rig.Alert, error) { return w.prometheus.Firing(ctx) }).WithTimeout(time.Minute).Should(BeEmpty())
}

// expectAlert waits until an alert fires that has these labels.
func (w *watched) expectAlert(ctx context.Context, name string, labels rig.Alert) {
	GinkgoHelper()
	fires := HaveKeyWithValue("alertname", name)
	for label, value := range labels {
		fires = And(fires, HaveKeyWithValue(label, value))
	}
	Eventually(func() ([]rig.Alert, error) { return w.prometheus.Firing(ctx) }).WithTimeout(time.Minute).Should(ContainElement(fires), name)
}

// ready returns the reason for each part that is not ready; empty for the others.
func (w *watched) ready(ctx context.Context) (map[string]string, error) {
	code, body, err := w.broker.Page(ctx, "/readyz")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Ready bool
		Parts []struct {
			Name, Reason string
			Ready        bool
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, err
	}
	Expect(answer.Ready).To(Equal(code == http.StatusOK), body)
	parts := map[string]string{}
	for _, p := range answer.Parts {
		Expect(p.Ready).To(Equal(p.Reason == ""), body)
		parts[p.Name] = p.Reason
	}
	return parts, nil
}

func (w *watched) expectUnready(ctx context.Context, part string, reason OmegaMatcher) {
	GinkgoHelper()
	Eventually(func() (map[string]string, error) { return w.ready(ctx) }).WithTimeout(time.Minute).Should(HaveKeyWithValue(part, reason))
}

func (w *watched) expectReady(ctx context.Context) {
	GinkgoHelper()
	Eventually(func() (map[string]string, error) { return w.ready(ctx) }).WithTimeout(time.Minute).Should(HaveEach(BeEmpty()))
}

// expectServed checks requests that need neither Vault nor the tenants' server.
func (w *watched) expectServed(ctx context.Context) {
	GinkgoHelper()
	catalog, err := w.client.Catalog(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(catalog.Services).To(HaveLen(1))
	last, err := w.client.LastOperation(ctx, w.instance, osbclient.Poll{})
	Expect(err).NotTo(HaveOccurred())
	Expect(last.State).To(Equal(osbclient.Succeeded))
}

// expectLate begins an operation during an outage; it must end after the outage.
func (w *watched) expectLate(ctx context.Context, mend func()) {
	GinkgoHelper()
	id := uuid.NewString()
	made, err := w.client.Bind(ctx, w.instance, id, osbclient.BindRequest{ServiceID: database, PlanID: small, AcceptsIncomplete: true})
	Expect(err).NotTo(HaveOccurred())
	Expect(made.Status).To(Equal(http.StatusAccepted))
	Expect(made.Header.Get("Retry-After")).NotTo(BeEmpty())
	mend()
	_, err = w.client.WaitBinding(ctx, w.instance, id, osbclient.Poll{Operation: made.Operation})
	Expect(err).NotTo(HaveOccurred())
	bound, err := w.client.FetchBinding(ctx, w.instance, id, "", "")
	Expect(err).NotTo(HaveOccurred())
	Expect(w.d.Secrets.AddCredentials("binding "+id, bound.Credentials)).To(Succeed())
	Expect(connect(ctx, bound.Credentials).PingContext(ctx)).To(Succeed())
	_, err = w.client.Unbind(ctx, w.instance, id, osbclient.DeleteRequest{ServiceID: database, PlanID: small})
	Expect(err).NotTo(HaveOccurred())
}

func (w *watched) sealed(ctx SpecContext) {
	Expect(w.d.Vault.Seal(ctx)).To(Succeed())
	w.expectUnready(ctx, "credential store", ContainSubstring("sealed"))
	w.expectAlert(ctx, "ChandlerCredentialStoreAway", nil)
	w.expectServed(ctx)
	w.expectLate(ctx, func() { Expect(w.d.Vault.Unseal(ctx)).To(Succeed()) })
	w.expectReady(ctx)
}

func (w *watched) tenantsDown(ctx SpecContext) {
	w.d.Tenants.Kill()
	w.expectUnready(ctx, "backend postgres", Not(BeEmpty()))
	w.expectAlert(ctx, "ChandlerBackendAway", rig.Alert{"part": "backend postgres"})
	w.expectServed(ctx)
	w.expectLate(ctx, func() { Expect(w.d.Tenants.Restart(ctx)).To(Succeed()) })
	w.expectReady(ctx)
}

// undone makes the tenants' server hang for longer than a client waits that does not
// poll. By then the seed is in Vault.
func (w *watched) undone(ctx SpecContext) {
	id := uuid.NewString()
	r := osbclient.BindRequest{ServiceID: database, PlanID: small}
	w.d.TenantsProxy.Freeze()
	DeferCleanup(w.d.TenantsProxy.Thaw)
	refused, err := w.client.Bind(ctx, w.instance, id, r)
	Expect(err).To(HaveOccurred())
	Expect(refused.Status).To(BeNumerically(">=", 500))
	Expect(w.d.VaultTree(ctx)).To(ContainElement(ContainSubstring(id)))
	w.d.TenantsProxy.Thaw()
	_, err = w.client.WaitBinding(ctx, w.instance, id, osbclient.Poll{})
	Expect(err).To(MatchError(ContainSubstring("cancelled")))
	w.expectAlert(ctx, "ChandlerOperationsFail", rig.Alert{"family": "database", "plan": "postgres-small", "kind": "bind"})
	Expect(w.d.VaultTree(ctx)).NotTo(ContainElement(ContainSubstring(id)))

	By("repeating the request, now that the server responds")
	made, err := w.client.Bind(ctx, w.instance, id, r)
	Expect(err).NotTo(HaveOccurred())
	Expect(made.Status).To(Equal(http.StatusCreated))
	Expect(w.d.Secrets.AddCredentials("binding "+id, made.Credentials)).To(Succeed())
	Expect(connect(ctx, made.Credentials).PingContext(ctx)).To(Succeed())
	_, err = w.client.Unbind(ctx, w.instance, id, osbclient.DeleteRequest{ServiceID: database, PlanID: small})
	Expect(err).NotTo(HaveOccurred())
}

func (w *watched) stateDown(ctx SpecContext) {
	w.d.State.Kill()
	w.expectUnready(ctx, "state database", Not(BeEmpty()))
	w.expectAlert(ctx, "ChandlerStateAway", nil)
	_, err := w.client.Catalog(ctx)
	Expect(err).NotTo(HaveOccurred())
	began := time.Now()
	refused, err := w.client.Provision(ctx, uuid.NewString(), provisionSmall())
	Expect(err).To(HaveOccurred())
	Expect(refused.Status).To(Equal(http.StatusServiceUnavailable))
	Expect(time.Since(began)).To(BeNumerically("<", 50*time.Second))
	Expect(w.d.State.Restart(ctx)).To(Succeed())
	w.expectReady(ctx)
	w.expectServed(ctx)
}

// labels returns the names of a metric's labels.
func labels(m *dto.Metric) []string {
	var names []string
	for _, l := range m.GetLabel() {
		names = append(names, l.GetName())
	}
	return names
}

func (w *watched) metrics(ctx SpecContext) {
	code, body, err := w.broker.Page(ctx, "/metrics")
	Expect(err).NotTo(HaveOccurred())
	Expect(code).To(Equal(http.StatusOK))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	for name, wanted := range map[string][]string{
		"chandler_http_requests_total":           {"code", "method", "route"},
		"chandler_http_request_duration_seconds": {"method", "route"},
		"chandler_operations_total":              {"family", "kind", "outcome", "plan"},
		"chandler_operation_duration_seconds":    {"family", "kind", "plan"},
		"chandler_operations_in_progress":        {"kind"},
		"chandler_instances":                     {"family", "plan"},
		"chandler_ready":                         {"part"},
	} {
		Expect(families).To(HaveKey(name))
		Expect(labels(families[name].GetMetric()[0])).To(Equal(wanted), name)
	}
	Expect(families["chandler_instances"].GetMetric()[0].GetGauge().GetValue()).To(Equal(1.0))
	Expect(body).To(ContainSubstring(`chandler_instances{family="database",plan="postgres-small"} 1`))
	Expect(body).To(MatchRegexp(`chandler_operations_total\{family="database",kind="bind",outcome="succeeded",plan="postgres-small"\} [1-9]`))
	Expect(body).NotTo(ContainSubstring(w.instance)) // a series for each instance would be too many
}

// catalogWith writes the shipped catalog with a text replaced.
func (w *watched) catalogWith(name, old, replacement string) string {
	GinkgoHelper()
	shipped, err := os.ReadFile(filepath.Join(w.d.Dir, "catalog.yml"))
	Expect(err).NotTo(HaveOccurred())
	Expect(string(shipped)).To(ContainSubstring(old))
	path := filepath.Join(w.d.Dir, name)
	Expect(os.WriteFile(path, []byte(strings.ReplaceAll(string(shipped), old, replacement)), 0o600)).To(Succeed())
	return path
}

func (w *watched) catalogs(ctx SpecContext) {
	Expect(verb(ctx, w.d, 0, "catalog", "check")).To(ContainSubstring("agrees with the state"))
	faulty := w.catalogWith("faulty.yml", "connections: 20 ", "conections: 20 ")
	Expect(verb(ctx, w.d, 2, "catalog", "check", "--catalog", faulty)).To(And(ContainSubstring("faulty.yml:"), ContainSubstring("conections")))

	By("a plan that has instances")
	without := w.catalogWith("without.yml", small, uuid.NewString())
	Expect(verb(ctx, w.d, 2, "catalog", "check", "--catalog", without)).To(ContainSubstring(small))
	result, err := rig.Run(ctx, rig.Command{
		Name: "refused", Path: w.d.Binary, Args: []string{"serve"}, Env: w.d.Env(map[string]string{"CHANDLER_CATALOG": without}), Dir: w.d.Dir,
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(result.Code).To(Equal(2))
	Expect(result.Stderr).To(ContainSubstring(small))
}

// quotas limits an organization on one replica only.
func (w *watched) quotas(ctx SpecContext) {
	bounded := w.catalogWith("bounded.yml", "\nservices:\n", "\nquotas:\n  - {organization: \"*\", service: database, instances: 1}\nservices:\n")
	client := clientOf(addBroker(ctx, w.d, "bounded", map[string]string{"CHANDLER_CATALOG": bounded}))
	refused, err := client.Provision(ctx, uuid.NewString(), provisionSmall())
	Expect(err).To(MatchError(ContainSubstring(`organization "org" has 1 of the 1 instances of service "database" that it may have`)))
	Expect(refused.Status).To(Equal(http.StatusUnprocessableEntity))
	result, err := rig.Run(ctx, rig.Command{
		Name: "quotas", Path: w.d.Binary, Args: []string{"quotas", "--output", "json"}, Env: w.d.Env(map[string]string{"CHANDLER_CATALOG": bounded}), Dir: w.d.Dir,
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(result.Stdout).To(MatchJSON(`[{"quota": "each organization, service database", "platform": "default", "organization": "org", "used": 1, "allowed": 1}]`))
}

// upgrade adds a plan on one replica only: operations that the other one cannot run
// wait for the first.
func (w *watched) upgrade(ctx SpecContext) {
	shipped, err := os.ReadFile(filepath.Join(w.d.Dir, "catalog.yml"))
	Expect(err).NotTo(HaveOccurred())
	plan := uuid.NewString()
	next := filepath.Join(w.d.Dir, "next.yml")
	Expect(os.WriteFile(next, append(shipped, "      - {id: "+plan+", name: postgres-new, description: New, backend: postgres, config: {}}\n"...), 0o600)).To(Succeed())
	newer := addBroker(ctx, w.d, "newer", map[string]string{"CHANDLER_CATALOG": next})
	client := clientOf(newer)
	for range 5 {
		id := uuid.NewString()
		r := provisionSmall()
		r.PlanID = plan
		made, err := client.Provision(ctx, id, r)
		Expect(err).NotTo(HaveOccurred())
		if made.Accepted() {
			_, err = client.WaitInstance(ctx, id, osbclient.Poll{Operation: made.Operation})
			Expect(err).NotTo(HaveOccurred())
		}
		By("leaving it alone on the older release")
		refused, err := w.client.Deprovision(ctx, id, osbclient.DeleteRequest{ServiceID: database, PlanID: plan, AcceptsIncomplete: true})
		Expect(err).To(HaveOccurred())
		Expect(refused.Status).To(BeNumerically(">=", 500), "%s", refused.Body)
		gone, err := client.Deprovision(ctx, id, osbclient.DeleteRequest{ServiceID: database, PlanID: plan, AcceptsIncomplete: true})
		Expect(err).NotTo(HaveOccurred())
		if gone.Accepted() {
			_, err = client.WaitInstance(ctx, id, osbclient.Poll{Operation: gone.Operation, Deletion: true})
			Expect(err).NotTo(HaveOccurred())
		}
	}
	newer.Kill()
}

func (w *watched) audit(ctx SpecContext) {
	identity := &osbclient.Identity{Platform: "cloudfoundry", Value: map[string]string{"user_id": "683ea748-3092-4ff4-b656-39cacc4d5360"}}
	client, err := w.broker.Client(osbclient.Options{Originating: identity, RequestIdentity: func() string { return "request-of-this-test" }})
	Expect(err).NotTo(HaveOccurred())
	_, err = client.Update(ctx, w.instance, osbclient.UpdateRequest{ServiceID: database, PlanID: medium})
	Expect(err).NotTo(HaveOccurred())
	var shown struct {
		Plan  string
		Audit []map[string]any
	}
	Expect(json.Unmarshal([]byte(verb(ctx, w.d, 0, "instances", "show", w.instance, "--output", "json")), &shown)).To(Succeed())
	Expect(shown.Plan).To(Equal("postgres-medium"))
	who := HaveKeyWithValue("originating", HaveKeyWithValue("value", HaveKeyWithValue("user_id", "683ea748-3092-4ff4-b656-39cacc4d5360")))
	for _, event := range []string{"accepted", "succeeded"} {
		Expect(shown.Audit).To(ContainElement(And(who, HaveKeyWithValue("action", "update"), HaveKeyWithValue("event", event),
			HaveKeyWithValue("request_id", "request-of-this-test"), HaveKeyWithValue("platform", "default"))))
	}
}
