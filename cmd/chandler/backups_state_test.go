package main

import (
	"crypto/rand"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/database/postgres"
)

// newBackedUp is a broker whose plan has backups, with the operator's key in backups.key.
func newBackedUp(t *testing.T) *restored {
	t.Helper()
	for _, program := range []string{"pg_dump", "pg_restore"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	g := embeddedtest.VersityGW(t, embedded.VersityGWOptions{})
	bucket, err := minio.New(strings.TrimPrefix(g.Endpoint(), "http://"), &minio.Options{Creds: credentials.NewStaticV4(g.AccessKeyID(), g.SecretAccessKey(), "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.MakeBucket(t.Context(), "backups", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	own, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	page, err := filepath.Abs("../../docs/disaster.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(disasterPage, page)
	t.Chdir(t.TempDir())
	catalog := strings.NewReplacer(`url: "${ADMIN_URL}"`, `url: "${ADMIN_URL}", prefix: bu`, "backend: postgres}", "backend: postgres, backups: {on_demand: 2}}").Replace(tracedCatalog)
	for name, text := range map[string]string{"catalog.yml": catalog, "backups.key": own.String() + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRestored(t)
	r.environment["ADMIN_URL"] = administrator(t, r.environment["ADMIN_URL"])
	for name, value := range map[string]string{
		"CHANDLER_CATALOG": "catalog.yml", "CHANDLER_BACKUPS_ENDPOINT": g.Endpoint(), "CHANDLER_BACKUPS_BUCKET": "backups", "CHANDLER_BACKUPS_REGION": g.Region(),
		"CHANDLER_BACKUPS_ACCESS_KEY_ID": g.AccessKeyID(), "CHANDLER_BACKUPS_SECRET_ACCESS_KEY": g.SecretAccessKey(), "CHANDLER_BACKUPS_RECIPIENT": own.Recipient().String(),
	} {
		r.environment[name] = value
	}
	r.start(embeddedtest.Database(t))
	return r
}

// administrator makes the broker's role, which has one for backups beside it.
func administrator(t *testing.T, superuser string) (admin string) {
	t.Helper()
	u, err := url.Parse(superuser)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), superuser)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	role, password := "admin_"+strings.ToLower(rand.Text()[:8]), rand.Text()
	if _, err := conn.Exec(t.Context(), postgres.AdministratorSQL(role, password), pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	return embedded.PostgresURL(u.Host, role, password, "postgres")
}

// state executes a statement in the broker's state.
func (r *restored) state(statement string, args ...any) {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.environment["DATABASE_URL"])
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(r.t.Context())
	if _, err := conn.Exec(r.t.Context(), statement, args...); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
}

// disasterPage is the variable with the path of docs/disaster.md: the tests change their folder.
const disasterPage = "TEST_DISASTER_PAGE"

// onDisasterPage returns the arguments of a command, which docs/disaster.md has to contain, with words
// replaced.
func onDisasterPage(t *testing.T, command string, words ...string) []string {
	t.Helper()
	page, err := os.ReadFile(os.Getenv(disasterPage))
	if err != nil || !strings.Contains(string(page), "$ chandler "+command+"\n") {
		t.Fatalf("the page lacks %q: %v", command, err)
	}
	return strings.Fields(strings.NewReplacer(words...).Replace(command))
}

// The operator makes, proves, restores and deletes backups, and imports those that the state has lost,
// with the instance's key or without it.
func TestBackupsOfState(t *testing.T) {
	r := newBackedUp(t)
	r.provision("i")
	uri := r.bind("i", "b")
	if err := r.run(uri, "create table orders as select 4711 as id"); err != nil {
		t.Fatal(err)
	}
	made := verbJSON[[]operator.Backup](t, "backups", "create", "i", "--wait")
	if len(made) != 1 || made[0].State != store.BackupReady || made[0].Origin != store.ByOperator {
		t.Fatalf("%+v", made)
	}
	name := made[0].Name()
	if out := mustVerb(t, "backups", "verify", "--instance", "i", "--wait"); !strings.Contains(out, name) {
		t.Error(out)
	}
	rows := verbJSON[[]listed](t, "backups", "list")
	if len(rows) != 1 || rows[0].State == nil || rows[0].State.VerifiedAt == nil || rows[0].Stored.SHA256 == "" {
		t.Errorf("%+v", rows)
	}
	if out := mustVerb(t, "backups", "show", name); !strings.Contains(out, "verified:") || !strings.Contains(out, "origin:") {
		t.Error(out)
	}

	// The server has the instance, and its user wrote to it.
	if out := mustVerb(t, "backups", "restore", "--server", "postgres", "--all"); !strings.Contains(out, "unchanged: i") {
		t.Error(out)
	}
	if _, err := runVerb(t, "backups", "restore", name, "--into", "i"); err == nil || !strings.Contains(err.Error(), "--overwrite") {
		t.Error(err)
	}
	if err := r.run(uri, "delete from orders"); err != nil {
		t.Fatal(err)
	}
	out := mustVerb(t, append(onDisasterPage(t, "backups restore INSTANCE/BACKUP --into NEW-INSTANCE", "INSTANCE/BACKUP", name, "NEW-INSTANCE", "i"), "--overwrite")...)
	if err := r.run(uri, "select 1/(id-4710) from orders limit 1"); err != nil || !strings.Contains(out, "recovered: i (database small) on postgres, from ") {
		t.Errorf("%v: %s", err, out)
	}

	// The state is lost, and then the key of the instance.
	r.state("delete from backups")
	rows = verbJSON[[]listed](t, "backups", "list")
	if len(rows) != 1 || rows[0].State != nil {
		t.Errorf("%+v", rows)
	}
	if out := mustVerb(t, "backups", "import", "--all"); !strings.Contains(out, "imported: "+name) {
		t.Error(out)
	}
	if out := mustVerb(t, "backups", "import", name); !strings.Contains(out, "0 imported, 1 known already") {
		t.Error(out)
	}
	r.state("delete from backups")
	r.state("delete from sealed_secrets where path like '%backup-key'")
	if _, err := runVerb(t, "backups", "import", name); err == nil || !strings.Contains(err.Error(), "--identity") {
		t.Error(err)
	}
	mustVerb(t, append(onDisasterPage(t, "backups import --all --identity backups.key"), "--to-space", "another")...)
	mustVerb(t, "backups", "check")
	if _, err := r.client.Provision(t.Context(), "again", osbclient.ProvisionRequest{
		ServiceID: restoredService, PlanID: restoredPlan, OrganizationGUID: "o", SpaceGUID: "another", Parameters: map[string]any{"restore_from": map[string]any{"instance": "i"}},
	}); err != nil {
		t.Errorf("restore what was imported into another space: %v", err)
	}

	if _, err := runVerb(t, "backups", "delete", name); !isUsage(err) {
		t.Error(err)
	}
	mustVerb(t, "backups", "delete", name, "--force")
	actions := map[store.Action]int{}
	for _, entry := range verbJSON[[]store.Audit](t, "audit", "--actor", `"platform":"operator"`) {
		actions[entry.Action]++
	}
	text, _ := json.Marshal(actions)
	if string(text) != `{"backup":1,"delete backup":1,"import backup":2,"recover":2,"verify backup":1}` {
		t.Errorf("audit record: %s", text)
	}

	// Flags that contradict each other, or say nothing.
	for line, text := range map[string]string{
		"create":                                "exactly one",
		"create i --all":                        "exactly one",
		"verify b --all":                        "exactly one",
		"delete --force":                        "select them with filters",
		"restore":                               "--server",
		"restore b":                             "--into",
		"restore b --into i --server s":         "a BACKUP goes with",
		"restore --into i":                      "go with a BACKUP",
		"restore --server s":                    "--all",
		"restore --server s --all --plan p":     "not both",
		"restore --server s --all --at-once 0":  "--at-once",
		"restore --server s --all --before now": "--before",
		"restore --server s --all --dry":        "unknown flag",
		"import":                                "exactly one",
	} {
		if _, err := runVerb(t, append([]string{"backups"}, strings.Fields(line)...)...); !isUsage(err) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
