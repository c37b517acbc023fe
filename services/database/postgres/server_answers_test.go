package postgres

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestReadySaysWhatIsMissing(t *testing.T) {
	server := newServer(t)
	for _, test := range []struct{ name, attributes, want string }{
		{"a superuser", "SUPERUSER CREATEDB CREATEROLE", "is a superuser"},
		{"no databases", "CREATEROLE", "lacks CREATEDB"},
		{"no roles", "CREATEDB", "lacks CREATEROLE"},
		{"no membership", "CREATEDB CREATEROLE", "pg_signal_backend"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server.exec(t, "DROP ROLE IF EXISTS lacking; CREATE ROLE lacking LOGIN PASSWORD 'lacking' "+test.attributes+
				"; GRANT CONNECT ON DATABASE postgres TO lacking")
			defer server.exec(t, "DROP OWNED BY lacking; DROP ROLE lacking")
			lacking := *server
			admin := *server.admin
			admin.User = url.UserPassword("lacking", "lacking")
			lacking.admin = &admin
			err := lacking.backend(t, "ready").Ready(testContext(t))
			expect(t, err, test.want)
		})
	}
	t.Run("everybody may connect", func(t *testing.T) {
		server.exec(t, "GRANT CONNECT ON DATABASE template1 TO PUBLIC")
		defer server.exec(t, "REVOKE CONNECT ON DATABASE template1 FROM PUBLIC")
		expect(t, server.backend(t, "ready").Ready(testContext(t)), "template1")
	})
	t.Run("a wrong password", func(t *testing.T) {
		wrong := *server
		admin := *server.admin
		admin.User = url.UserPassword("chandler_admin", "not-the-password")
		wrong.admin = &admin
		err := wrong.backend(t, "ready").Ready(testContext(t))
		expect(t, err, "password authentication failed")
		if strings.Contains(err.Error(), "not-the-password") {
			t.Errorf("the error holds the password: %v", err)
		}
	})
}

// A locale or extension that the server lacks is the user's error, which names what exists.
func TestRejectedByTheServer(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "rejected")
	for _, test := range []struct {
		name   string
		params InstanceParams
		want   string
	}{
		{"a locale that is missing", InstanceParams{Collate: "tlh_QO.UTF-8"}, `parameters.collate: the server has no locale "tlh_QO.UTF-8"; possible with this character_set are C`},
		{"a locale that does not fit", InstanceParams{CharacterSet: "latin2", Collate: "C.UTF-8"}, `parameters.collate: "C.UTF-8" does not fit character set LATIN2; possible are C`},
		{"an extension that is missing", InstanceParams{Extensions: []string{"nosuch"}}, `parameters.extensions: "nosuch" is not installed`},
		{"an extension for superusers", InstanceParams{Extensions: []string{"pageinspect"}}, `parameters.extensions: "pageinspect" `},
	} {
		t.Run(test.name, func(t *testing.T) {
			inst := newInstance(test.name, func(i *instance) {
				i.Plan.Extensions = []string{"nosuch", "pageinspect"}
				i.Params = test.params
			})
			message, rejected := services.IsRejected(servicetest.Once(b).Provision(ctx, inst))
			if !rejected || !strings.HasPrefix(message, test.want) {
				t.Errorf("%q, want %q", message, test.want)
			}
			if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
				t.Fatal(err)
			}
		})
	}
	if left := server.left(t, "rejected"); left != nil {
		t.Fatalf("left behind: %v", left)
	}
}

// An update rejects at once what the tenant's own changes make impossible.
func TestRejectedForWhatTheTenantDid(t *testing.T) {
	for _, test := range []struct{ name, did, want string }{
		{"no schema public", "DROP SCHEMA public CASCADE", `parameters.extensions: "citext" needs schema public, which this database no longer has`},
		{"a type of that name", "CREATE DOMAIN citext AS text", `parameters.extensions: "citext" makes an object that schema public has already`},
		{"no right to schema public", "DROP SCHEMA public CASCADE; SET ROLE NONE; CREATE SCHEMA public", `parameters.extensions: "citext" needs schema public, which this database no longer has, or hides`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if newServer(t).version < 150000 && strings.Contains(test.did, "SCHEMA public") {
				t.Skip("schema public is the superuser's before PostgreSQL 15")
			}
			f := newFull(t, "did")
			f.inst.Plan.Extensions = []string{"citext"}
			f.writer.must(t, test.did)
			next := f.inst
			next.Params.Extensions = []string{"citext"}
			message, rejected := services.IsRejected(servicetest.Once(f.b).Update(testContext(t), f.inst, next))
			if !rejected || !strings.HasPrefix(message, test.want) {
				t.Errorf("%q, want %q", message, test.want)
			}
			f.remove(t)
		})
	}
}

// An update that waits for a tenant's open transaction names the session.
func TestExtensionBehindATransaction(t *testing.T) {
	t.Parallel()
	f := newFull(t, "waiting")
	f.inst.Plan.Extensions = []string{"citext"}
	f.writer.must(t, "BEGIN")
	f.writer.must(t, "CREATE DOMAIN citext AS text")
	next := f.inst
	next.Params.Extensions = []string{"citext"}
	pending, ok := errors.AsType[*services.NotYetError](servicetest.Once(f.b).Update(testContext(t), f.inst, next))
	if !ok || !strings.Contains(pending.Note, "session "+f.writer.pid(t)) {
		t.Errorf("not yet: %+v", pending)
	}
	f.writer.must(t, "ROLLBACK")
	if err := servicetest.Once(f.b).Update(testContext(t), f.inst, next); err != nil {
		t.Error(err)
	}
	f.remove(t)
}

// The user is told that the database was dropped, and can only delete the instance.
func TestDroppedDatabase(t *testing.T) {
	f := newFull(t, "dropped")
	other, _, creds := f.neighbour(t)
	mine, theirs := f.b.names.instance(f.inst.Name), f.b.names.instance(other.Name)
	dialled(t, creds).must(t, "GRANT CONNECT ON DATABASE "+theirs.database+" TO "+f.b.names.role(f.writing.Name))
	s, err := dial(testContext(t), in(theirs.database, f.writerCreds))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []*client{f.writer, f.reader} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	clientOf(s).must(t, "DROP DATABASE "+mine.database)
	ctx := testContext(t)
	_, bindErr := servicetest.Once(f.b).Bind(ctx, f.inst, newBinding(t, f.inst, "late", access.ReadWrite))
	for verb, err := range map[string]error{
		"bind": bindErr, "update": servicetest.Once(f.b).Update(ctx, f.inst, f.inst), "verify": servicetest.Once(f.b).Verify(ctx, f.inst, f.writing),
	} {
		if message, _ := services.IsRejected(err); message != droppedMessage {
			t.Errorf("%s: %v", verb, err)
		}
	}
	conditions, err := servicetest.Once(f.b).Reconcile(ctx, []Plan{f.inst.Plan}, []instance{f.inst})
	if got := conditions[f.inst.ID]; err != nil || got.Reason != services.Inaccessible || got.Message != droppedMessage {
		t.Errorf("condition: %+v, %v", got, err)
	}
	f.remove2(t, other)
}

func TestCharacterSets(t *testing.T) {
	t.Parallel()
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "charset")
	for set, want := range encodings() {
		t.Run(set, func(t *testing.T) {
			inst := newInstance(set, func(i *instance) { i.Params.CharacterSet = set })
			if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
				t.Fatal(err)
			}
			got := server.ask(t, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'charset_"+inst.Name+"'")
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestUpdateToLessStorage(t *testing.T) {
	f := newFull(t, "less")
	ctx := testContext(t)
	large := f.inst
	large.Plan.Storage = services.Gigabyte
	if err := servicetest.Once(f.b).Update(ctx, f.inst, large); err != nil {
		t.Fatal(err)
	}
	f.writer.must(t, fill)
	message, rejected := services.IsRejected(servicetest.Once(f.b).Update(ctx, large, f.inst))
	if !rejected || !strings.HasPrefix(message, "the plan allows 16 MB and the database uses ") {
		t.Errorf("%q", message)
	}
	if err := f.writer.run(t, "INSERT INTO big VALUES (1)"); err != nil {
		t.Errorf("the refused update changed something: %v", err)
	}
	f.writer.must(t, "TRUNCATE big")
	if err := servicetest.Once(f.b).Update(ctx, large, f.inst); err != nil {
		t.Fatal(err)
	}
	// An upgrade of an instance over quota lets it write at once.
	f.writer.must(t, "INSERT INTO big SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 25000) n")
	f.reconcile(t)
	if err := servicetest.Once(f.b).Update(ctx, f.inst, large); err != nil {
		t.Fatal(err)
	}
	dialled(t, f.writerCreds).must(t, "INSERT INTO big VALUES (1)")
	f.inst = large
	f.remove(t)
}

func TestUndoneUpgradeOfAFullDatabase(t *testing.T) {
	f := newFull(t, "undone")
	ctx := testContext(t)
	f.writer.must(t, fill)
	f.reconcile(t)
	large := f.inst
	large.Plan.Storage = services.Gigabyte
	if err := servicetest.Once(f.b).Update(ctx, large, f.inst); err != nil { // the upgrade failed before it did anything
		t.Fatal(err)
	}
	expect(t, dialled(t, f.writerCreds).run(t, "INSERT INTO big VALUES (1)"), "permission denied")
	f.remove(t)
}

func TestList(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "list")
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd := newBinding(t, inst, "b", access.ReadWrite)
	if _, err := servicetest.Once(b).Bind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	if _, err := servicetest.Once(b).Reconcile(ctx, []Plan{{Spares: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	// Possible leftovers of a crash: a role without its group, a group without its database.
	alone, group := services.BindingName("gone", "b"), services.InstanceName("gone")
	revoked := services.InstanceName("revoked")
	server.exec(t, "CREATE ROLE list_"+alone+"; CREATE ROLE list_"+group+"_owner; CREATE ROLE list_other; CREATE ROLE listed_"+group+"; CREATE ROLE list_revoked_"+revoked)
	defer server.exec(t, "DROP ROLE list_"+alone+", list_"+group+"_owner, list_other, listed_"+group+"; DROP ROLE IF EXISTS list_revoked_"+revoked)
	got, err := b.List(ctx)
	want := []services.Resource{
		{Instance: inst.Name, Name: "list_" + inst.Name},
		{Instance: inst.Name, Binding: bd.Name, Name: "list_" + bd.Name},
		{Binding: alone, Name: "list_" + alone},
		{Instance: group, Name: "list_" + group + "_owner", Leftover: true},
		{Binding: revoked, Name: "list_revoked_" + revoked, Leftover: true},
	}
	less := func(a, b services.Resource) bool { return a.Name < b.Name }
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(less)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := servicetest.Once(b).Reconcile(ctx, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
}

// Statements, which the server may log, never have a password in the clear.
func TestPasswordsAreNotSent(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "logged")
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd := newBinding(t, inst, "b", access.ReadWrite)
	c, err := servicetest.Once(b).Bind(ctx, inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	_, verified, err := bindingVerifier(bd.Seed)
	if err != nil {
		t.Fatal(err)
	}
	if stored := server.ask(t, "SELECT rolpassword FROM pg_authid WHERE rolname = 'logged_"+bd.Name+"'"); stored != verified {
		t.Errorf("stored: %s, want %s", stored, verified)
	}
	if strings.Contains(AdministratorSQL("a", "plain-password"), "plain-password") {
		t.Error("the administrator's password is in its statements")
	}
	if bd.Seed.Scrub(verified) == verified || strings.Contains(verified, c.Values["password"].(string)) {
		t.Error("the verifier is not concealed, or holds the password")
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
}
