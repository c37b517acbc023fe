package acceptance_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// backedUp are the backends whose instances the specs copy, on their real servers.
func backedUp() []string {
	return []string{"postgres", "mysql", "nats", "rabbitmq", "powerdns", "s3", "smb", "functions"}
}

// backupStore is a bucket on a gateway of its own, behind a proxy.
type backupStore struct {
	proxy       *servicetest.Proxy
	environment map[string]string
}

func startBackupStore(ctx context.Context) backupStore {
	GinkgoHelper()
	binary, err := embedded.BuildVersityGW(ctx, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	dir, err := os.MkdirTemp(folder, "backups-")
	Expect(err).NotTo(HaveOccurred())
	Expect(os.Chmod(dir, 0o711)).To(Succeed())
	gateway, err := embedded.StartVersityGW(ctx, embedded.VersityGWOptions{Binary: binary, Dir: filepath.Join(dir, "gateway")})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx SpecContext) { Expect(gateway.Stop(ctx)).To(Succeed()) })
	proxy, err := servicetest.StartProxy(gateway.Address())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(proxy.Close)
	client := newS3(map[string]any{
		"region": gateway.Region(), "endpoint": gateway.Endpoint(), "path_style": true,
		"access_key_id": gateway.AccessKeyID(), "secret_access_key": gateway.SecretAccessKey(),
	})
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("backups")})
	Expect(err).NotTo(HaveOccurred())
	endpoint := url.URL{Scheme: "http", Host: proxy.Address()}
	return backupStore{proxy, map[string]string{
		"CHANDLER_BACKUPS_ENDPOINT": endpoint.String(), "CHANDLER_BACKUPS_BUCKET": "backups", "CHANDLER_BACKUPS_REGION": gateway.Region(),
		"CHANDLER_BACKUPS_ACCESS_KEY_ID": gateway.AccessKeyID(), "CHANDLER_BACKUPS_SECRET_ACCESS_KEY": gateway.SecretAccessKey(),
	}}
}

// copier uses instances of one plan as a platform and an application do.
type copier struct {
	client *osbclient.Client
	plan   *catalog.Plan
	dial   services.Dialer
}

func (c copier) provision(ctx context.Context, id string, parameters map[string]any) {
	GinkgoHelper()
	made, err := c.client.Provision(ctx, id, osbclient.ProvisionRequest{
		ServiceID: c.plan.Service.ID, PlanID: c.plan.ID, OrganizationGUID: "org", SpaceGUID: "space", Parameters: parameters, AcceptsIncomplete: true,
	})
	Expect(err).NotTo(HaveOccurred())
	c.await(ctx, id, made, false)
}

func (c copier) backUp(ctx context.Context, id, name string) {
	GinkgoHelper()
	c.await(ctx, id, c.beginBackup(ctx, c.client, id, name), false)
}

func (c copier) beginBackup(ctx context.Context, client *osbclient.Client, id, name string) osbclient.Change {
	GinkgoHelper()
	made, err := client.Update(ctx, id, osbclient.UpdateRequest{
		ServiceID: c.plan.Service.ID, Parameters: map[string]any{"backup": map[string]any{"name": name}}, AcceptsIncomplete: true,
	})
	Expect(err).NotTo(HaveOccurred())
	return made
}

func (c copier) deprovision(ctx context.Context, id string) {
	GinkgoHelper()
	gone, err := c.client.Deprovision(ctx, id, osbclient.DeleteRequest{ServiceID: c.plan.Service.ID, PlanID: c.plan.ID, AcceptsIncomplete: true})
	Expect(err).NotTo(HaveOccurred())
	c.await(ctx, id, gone, true)
}

func (c copier) await(ctx context.Context, id string, change osbclient.Change, deletion bool) {
	GinkgoHelper()
	if change.Status == http.StatusAccepted {
		_, err := c.client.WaitInstance(ctx, id, osbclient.Poll{Operation: change.Operation, Deletion: deletion})
		Expect(err).NotTo(HaveOccurred())
	}
}

// use binds an application, and unbinds it when do returns.
func (c copier) use(ctx context.Context, id string, do func(services.Session)) {
	GinkgoHelper()
	binding := uuid.NewString()
	bound, err := c.client.Bind(ctx, id, binding, osbclient.BindRequest{ServiceID: c.plan.Service.ID, PlanID: c.plan.ID})
	Expect(err).NotTo(HaveOccurred())
	session, err := c.dial(ctx, bound.Credentials)
	Expect(err).NotTo(HaveOccurred())
	do(session)
	Expect(session.Close()).To(Succeed())
	_, err = c.client.Unbind(ctx, id, binding, osbclient.DeleteRequest{ServiceID: c.plan.Service.ID, PlanID: c.plan.ID})
	Expect(err).NotTo(HaveOccurred())
}

func (c copier) write(ctx context.Context, id, value string) {
	GinkgoHelper()
	c.use(ctx, id, func(s services.Session) { Expect(s.Write(ctx, "key", value)).To(Succeed()) })
}

// expect reads what was written. RabbitMQ's copies have queues, but no messages.
func (c copier) expect(ctx context.Context, id, value string) {
	GinkgoHelper()
	c.use(ctx, id, func(s services.Session) {
		if c.plan.Backend == "rabbitmq" {
			Expect(s.Ping(ctx)).To(Succeed())
			return
		}
		Expect(s.Read(ctx, "key")).To(Equal(value))
	})
}

var _ = Describe("Backups of instances", Ordered, ContinueOnFailure, func() {
	var d *rig.Deployment
	var store backupStore
	var first, second *rig.Broker
	copiers := map[string]copier{}

	BeforeAll(func(ctx SpecContext) {
		store = startBackupStore(ctx)
		text, err := rig.ShippedCatalog(backedUp()...)
		Expect(err).NotTo(HaveOccurred())
		text, err = rig.WithBackups(text)
		Expect(err).NotTo(HaveOccurred())
		text, err = rig.WithSpare(text, "postgres", "POSTGRES_SPARE_ADMIN_URL")
		Expect(err).NotTo(HaveOccurred())
		d = deploy(ctx, rig.Options{Vault: vaultBinary, Backends: backedUp(), Catalog: text, Environment: store.environment})
		_, _, err = d.AddPostgres(ctx, "spare", "POSTGRES_SPARE_ADMIN_URL")
		Expect(err).NotTo(HaveOccurred())
		d.Secrets.Add("the secret of the store of backups", store.environment["CHANDLER_BACKUPS_SECRET_ACCESS_KEY"])
		first, second = addBroker(ctx, d, "first", nil), addBroker(ctx, d, "second", nil)
		parsed, err := d.Parsed()
		Expect(err).NotTo(HaveOccurred())
		for _, b := range parsed.Backends() {
			copiers[b.Name] = copier{clientOf(first), parsed.PlansOf(b.Name)[0], b.Definition.Dial}
		}
	})

	for _, backend := range backedUp() {
		It("bring the data of "+backend+" back, also of a deleted instance", func(ctx SpecContext) {
			c := copiers[backend]
			original, restored, clone := backend+"-original", backend+"-restored", backend+"-clone"
			c.provision(ctx, original, nil)
			c.write(ctx, original, "kept")
			c.backUp(ctx, original, "before-migration")
			c.write(ctx, original, "lost")
			c.deprovision(ctx, original)
			c.provision(ctx, restored, map[string]any{"restore_from": map[string]any{"instance": original}})
			c.expect(ctx, restored, "kept")
			c.provision(ctx, clone, map[string]any{"clone_of": restored})
			c.expect(ctx, clone, "kept")
			c.deprovision(ctx, restored)
			c.deprovision(ctx, clone)
		}, SpecTimeout(5*time.Minute))
	}

	It("go on after the replica that makes them was killed", func(ctx SpecContext) {
		c := copiers["postgres"]
		c.provision(ctx, "survivor", nil)
		c.write(ctx, "survivor", "kept")
		store.proxy.Freeze() // the backup begins, and does not end
		made := c.beginBackup(ctx, clientOf(second), "survivor", "killed")
		Expect(made.Status).To(Equal(http.StatusAccepted))
		time.Sleep(4 * time.Second) // either replica has taken it by now
		first.Kill()
		second.Kill()
		store.proxy.Thaw()
		Expect(first.Start(ctx)).To(Succeed())
		c.client = clientOf(first)
		c.await(ctx, "survivor", made, false)
		c.provision(ctx, "survived", map[string]any{"restore_from": map[string]any{"instance": "survivor"}})
		c.expect(ctx, "survived", "kept")
		c.deprovision(ctx, "survived")
		c.deprovision(ctx, "survivor")
	}, SpecTimeout(5*time.Minute))

	It("bring back what all servers have lost, with the state and Vault as they were before", func(ctx SpecContext) {
		first.Kill()
		second.Kill()
		Expect(first.Start(ctx)).To(Succeed())
		newDisaster(d, first, copiers).happen(ctx)
	}, SpecTimeout(10*time.Minute))

	It("bring back on another server what a server has lost for good", func(ctx SpecContext) {
		recoverElsewhere(ctx, d, copiers["postgres"])
	}, SpecTimeout(5*time.Minute))

	It("are intact in their store, and leave nothing else behind", func(ctx SpecContext) {
		// The backups for clones went with them.
		Expect(strings.Split(strings.TrimSpace(verb(ctx, d, 0, "backups", "check")), "\n")).To(And(
			HaveLen(2*len(backedUp())+2), HaveEach(HavePrefix("ok: "))))
		Expect(verb(ctx, d, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`))
		for _, s := range d.Servers {
			// A server may remove its files a moment after it has answered.
			Eventually(s.Holds).WithContext(ctx).WithTimeout(time.Minute).Should(BeEmpty(), s.Backend)
		}
		expectOrderlyEnd(ctx, d)
	})
})
