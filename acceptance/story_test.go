package acceptance_test

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"path"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

var _ = Describe("An application's database", func() {
	Describe("with its credentials in Vault", Ordered, func() { tellStory(true) })
	Describe("with its credentials sealed in the state", Ordered, func() { tellStory(false) })
})

// story is the life of one instance.
type story struct {
	d                      *rig.Deployment
	client                 *osbclient.Client
	instance               string
	first, second, renewed *storyBinding
	reader                 *storyBinding
}

type storyBinding struct {
	id          string
	credentials map[string]any
}

func newStoryBinding() *storyBinding { return &storyBinding{id: uuid.NewString()} }

func tellStory(vault bool) {
	s := &story{
		instance: uuid.NewString(), first: newStoryBinding(), second: newStoryBinding(), renewed: newStoryBinding(), reader: newStoryBinding(),
	}
	BeforeAll(func(ctx SpecContext) {
		o := rig.Options{}
		if vault {
			o.Vault = vaultBinary
		}
		s.d = deploy(ctx, o)
		s.client = clientOf(addBroker(ctx, s.d, "broker", nil))
	})
	It("is ready in the first response", s.provision)
	It("gives each application its own login", s.bind)
	if vault {
		It("stores seed and credentials in Vault, and nowhere else", s.inVault)
	}
	It("answers the same request with the same credentials", s.again)
	It("prevents a read-only login from writing", s.readOnly)
	It("replaces a login while both work", s.rotate)
	It("revokes one login alone, including open sessions", s.unbind)
	It("changes its plan while logins are in use", s.update)
	It("cannot be deleted while applications are bound", s.refuseRemoval)
	It("is deleted together with all logins", s.remove)
	if vault {
		It("leaves nothing recoverable in Vault", s.emptyVault)
	}
	It("leaves no orphan", func(ctx SpecContext) {
		Expect(verb(ctx, s.d, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`))
	})
	It("leaves no secret in a wrong place", func(ctx SpecContext) { expectOrderlyEnd(ctx, s.d) })
}

func (s *story) provision(ctx SpecContext) {
	made, err := s.client.Provision(ctx, s.instance, osbclient.ProvisionRequest{
		ServiceID: database, PlanID: small, OrganizationGUID: "org", SpaceGUID: "space", AcceptsIncomplete: true,
		Parameters: map[string]any{"extensions": []string{"citext"}},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(made.Status).To(Equal(http.StatusCreated))
}

func (s *story) bindAs(ctx SpecContext, b *storyBinding, r osbclient.BindRequest) {
	GinkgoHelper()
	r.ServiceID, r.PlanID, r.AcceptsIncomplete = database, small, true
	made, err := s.client.Bind(ctx, s.instance, b.id, r)
	Expect(err).NotTo(HaveOccurred())
	Expect(made.Status).To(Equal(http.StatusCreated))
	b.credentials = made.Credentials
	Expect(s.d.Secrets.AddCredentials("binding "+b.id, b.credentials)).To(Succeed())
	Expect(s.d.SeedSecret(ctx, s.instance, b.id)).To(Succeed())
}

func (s *story) bind(ctx SpecContext) {
	for _, b := range []*storyBinding{s.first, s.second} {
		s.bindAs(ctx, b, osbclient.BindRequest{AppGUID: uuid.NewString()})
		Expect(b.credentials).To(And(HaveKeyWithValue("type", "postgresql"), HaveKey("provider"), HaveKey("host"), HaveKey("port"),
			HaveKey("database"), HaveKey("username"), HaveKey("password"), HaveKey("uri"), HaveKey("jdbc_url")))
	}
	Expect(s.first.credentials["username"]).NotTo(Equal(s.second.credentials["username"]))
	Expect(s.first.credentials["password"]).NotTo(Equal(s.second.credentials["password"]))

	one, other := connect(ctx, s.first.credentials), connect(ctx, s.second.credentials)
	run(ctx, one, `create table cargo (what citext primary key, tons int)`)
	run(ctx, one, `insert into cargo values ('Rope', 3)`)
	Expect(ask[int](ctx, other, `select tons from cargo where what = 'rope'`)).To(Equal(3))
	run(ctx, other, `alter table cargo add column port text`)
	run(ctx, one, `drop table cargo`)
	run(ctx, other, `create table cargo (what text)`)
	run(ctx, one, `insert into cargo values ('sails')`)
}

// vaultPaths returns the paths of bindings in Vault.
func (s *story) vaultPaths(bindings ...*storyBinding) []string {
	paths := []string{}
	for _, b := range bindings {
		folder := path.Join("instances", s.instance, "bindings", b.id)
		paths = append(paths, folder+"/credentials", folder+"/seed")
	}
	return paths
}

func (s *story) inVault(ctx SpecContext) {
	Expect(s.d.VaultTree(ctx)).To(ConsistOf(s.vaultPaths(s.first, s.second)))
	versions, data, err := s.d.VaultVersions(ctx, s.vaultPaths(s.first)[0])
	Expect(err).NotTo(HaveOccurred())
	Expect(versions).To(Equal(1))
	stored, err := json.Marshal(data)
	Expect(err).NotTo(HaveOccurred())
	Expect(json.Marshal(s.first.credentials)).To(MatchJSON(stored))
}

func (s *story) again(ctx SpecContext) {
	fetched, err := s.client.FetchBinding(ctx, s.instance, s.second.id, database, small)
	Expect(err).NotTo(HaveOccurred())
	Expect(fetched.Credentials).To(Equal(s.second.credentials))
	repeated, err := s.client.Bind(ctx, s.instance, s.renewed.id, osbclient.BindRequest{PredecessorBindingID: "no such binding"})
	Expect(err).To(HaveOccurred())
	Expect(repeated.Status).To(Equal(http.StatusBadRequest))
	made, err := s.client.Provision(ctx, s.instance, osbclient.ProvisionRequest{
		ServiceID: database, PlanID: small, OrganizationGUID: "org", SpaceGUID: "space",
		Parameters: map[string]any{"extensions": []string{"citext"}},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(made.Status).To(Equal(http.StatusOK))
}

func (s *story) readOnly(ctx SpecContext) {
	s.bindAs(ctx, s.reader, osbclient.BindRequest{Parameters: map[string]any{"role": "read_only"}})
	conn := connect(ctx, s.reader.credentials)
	Expect(ask[string](ctx, conn, `select what from cargo`)).To(Equal("sails"))
	for _, attempt := range []string{
		`insert into cargo values ('contraband')`,
		`create table smuggled (what text)`,
		`set transaction read write; delete from cargo`,
	} {
		_, err := conn.ExecContext(ctx, attempt)
		Expect(err).To(refusedAs("insufficient_privilege"), attempt)
	}
}

func (s *story) rotate(ctx SpecContext) {
	made, err := s.client.Bind(ctx, s.instance, s.renewed.id, osbclient.BindRequest{PredecessorBindingID: s.first.id, AcceptsIncomplete: true})
	Expect(err).NotTo(HaveOccurred())
	Expect(made.Status).To(Equal(http.StatusCreated))
	s.renewed.credentials = made.Credentials
	Expect(s.d.Secrets.AddCredentials("binding "+s.renewed.id, made.Credentials)).To(Succeed())
	Expect(s.d.SeedSecret(ctx, s.instance, s.renewed.id)).To(Succeed())
	Expect(s.renewed.credentials["password"]).NotTo(Equal(s.first.credentials["password"]))
	for _, b := range []*storyBinding{s.first, s.renewed} {
		Expect(ask[string](ctx, connect(ctx, b.credentials), `select what from cargo`)).To(Equal("sails"))
	}
}

func (s *story) unbind(ctx SpecContext) {
	live := map[*storyBinding]*sql.Conn{}
	for _, b := range []*storyBinding{s.first, s.second, s.renewed} {
		live[b] = connect(ctx, b.credentials)
	}
	run(ctx, live[s.first], `create table left_behind (what text)`)
	s.revoke(ctx, s.first)
	Expect(live[s.first].PingContext(ctx)).NotTo(Succeed())
	_, err := open(ctx, s.first.credentials)
	Expect(err).To(refusedAs("invalid_password"))
	for _, b := range []*storyBinding{s.second, s.renewed} {
		Expect(live[b].PingContext(ctx)).To(Succeed())
		run(ctx, live[b], `insert into left_behind values ('by the one who is gone')`)
	}
}

func (s *story) revoke(ctx SpecContext, b *storyBinding) {
	GinkgoHelper()
	gone, err := s.client.Unbind(ctx, s.instance, b.id, osbclient.DeleteRequest{ServiceID: database, PlanID: small, AcceptsIncomplete: true})
	Expect(err).NotTo(HaveOccurred())
	Expect(gone.Status).To(Equal(http.StatusOK))
}

func (s *story) update(ctx SpecContext) {
	conn := connect(ctx, s.second.credentials)
	timeout := func(c *sql.Conn) string { return ask[string](ctx, c, `show statement_timeout`) }
	Expect(timeout(conn)).To(Equal("1min"))
	changed, err := s.client.Update(ctx, s.instance, osbclient.UpdateRequest{ServiceID: database, PlanID: medium, AcceptsIncomplete: true})
	Expect(err).NotTo(HaveOccurred())
	Expect(changed.Status).To(Equal(http.StatusOK))
	Expect(conn.PingContext(ctx)).To(Succeed())
	Expect(timeout(connect(ctx, s.second.credentials))).To(Equal("5min"))
	fetched, err := s.client.FetchInstance(ctx, s.instance, "", "")
	Expect(err).NotTo(HaveOccurred())
	Expect(fetched.PlanID).To(Equal(medium))
}

func (s *story) refuseRemoval(ctx SpecContext) {
	refused, err := s.client.Deprovision(ctx, s.instance, osbclient.DeleteRequest{ServiceID: database, PlanID: medium, AcceptsIncomplete: true})
	Expect(err).To(HaveOccurred())
	Expect(refused.Status).To(Equal(http.StatusUnprocessableEntity))
	Expect(connect(ctx, s.second.credentials).PingContext(ctx)).To(Succeed())
}

func (s *story) remove(ctx SpecContext) {
	for _, b := range []*storyBinding{s.second, s.renewed, s.reader} {
		s.revoke(ctx, b)
	}
	gone, err := s.client.Deprovision(ctx, s.instance, osbclient.DeleteRequest{ServiceID: database, PlanID: medium, AcceptsIncomplete: true})
	Expect(err).NotTo(HaveOccurred())
	Expect(gone.Status).To(Equal(http.StatusOK))
	for _, b := range []*storyBinding{s.first, s.second, s.renewed, s.reader} {
		_, err := open(ctx, b.credentials)
		Expect(err).To(HaveOccurred())
	}
	again, err := s.client.Deprovision(ctx, s.instance, osbclient.DeleteRequest{ServiceID: database, PlanID: medium})
	Expect(err).To(HaveOccurred())
	Expect(again.Status).To(Equal(http.StatusGone))
}

func (s *story) emptyVault(ctx SpecContext) {
	Expect(s.d.VaultTree(ctx)).To(BeEmpty())
	for _, secret := range s.vaultPaths(s.first, s.second, s.renewed, s.reader) {
		versions, _, err := s.d.VaultVersions(ctx, secret)
		Expect(err).NotTo(HaveOccurred())
		Expect(versions).To(BeZero(), secret)
	}
}
