package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
)

// storedBackup is a backup in a store that the environment names, of an instance whose key is
// lost.
type storedBackup struct {
	backup.Manifest
	objects *backup.Objects
	bucket  string // the folder of the gateway's files
	key     string // the file of the operator's key
}

const organization = "5b3f4c1e-6d0a-4f0e-9f0c-0d6b8a5c2e11"

func storeBackup(t *testing.T) storedBackup {
	t.Helper()
	g := embeddedtest.VersityGW(t, embedded.VersityGWOptions{})
	store := catalog.BackupStore{
		Endpoint: g.Endpoint(), Bucket: "backups", Region: g.Region(), AccessKeyID: g.AccessKeyID(), SecretAccessKey: services.NewSecret(g.SecretAccessKey()),
	}
	owner, err := minio.New(strings.TrimPrefix(g.Endpoint(), "http://"), &minio.Options{Creds: credentials.NewStaticV4(store.AccessKeyID, g.SecretAccessKey(), "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.MakeBucket(t.Context(), store.Bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	objects, err := backup.Open(store)
	if err != nil {
		t.Fatal(err)
	}
	operator, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	m := backup.Manifest{
		ID: "b1", Label: "before-migration", Created: time.Date(2026, 6, 1, 3, 15, 0, 0, time.UTC), Recipients: []string{operator.Recipient().String()},
		Instance: backup.Owner{
			ID: "i1", Name: services.InstanceName("i1"), Platform: "cf", Organization: organization, Space: "s",
			ServiceID: "sid", Service: "database", PlanID: "pid", Plan: "postgres-small", BackendType: "database/postgres",
		},
	}
	m.Stored, err = objects.Write(t.Context(), m.Name(), []age.Recipient{operator.Recipient()}, 0, nil,
		func(_ context.Context, w io.Writer) (services.Contents, error) {
			_, err := io.WriteString(w, "the copy")
			return services.Contents{Format: "postgres-1", Counts: map[string]int64{"tables": 1}}, err
		})
	if err != nil {
		t.Fatal(err)
	}
	if err := objects.PutManifest(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	key := filepath.Join(t.TempDir(), "backups.key")
	for name, text := range map[string]string{
		key: operator.String() + "\n",
		// The rest of the catalog lacks its variables, as after a disaster.
		"catalog.yml": "backends: {pg: {type: database/postgres, config: {url: '${LOST_URL}'}}}\nbackups:\n  store: {endpoint: '${STORE}', bucket: backups, " +
			"access_key_id: '${KEY_ID}', secret_access_key: '${SECRET}'}\nservices: []\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"STORE": g.Endpoint(), "KEY_ID": g.AccessKeyID(), "SECRET": g.SecretAccessKey(), "CHANDLER_CATALOG": "catalog.yml",
		"DATABASE_URL": "", "VAULT_ADDR": "", "CHANDLER_SEALED_KEY": "", "CHANDLER_SEALED_KEY_FILE": "",
	} {
		t.Setenv(name, value)
	}
	return storedBackup{m, objects, filepath.Join(g.BucketsFolder(), store.Bucket), key}
}

// An incremental backup is exported with what it builds on, and checked with that.
func TestIncrementalBackupsCommands(t *testing.T) {
	b := storeBackup(t)
	m := b.Manifest
	m.ID, m.Base, m.Created = "b2", b.ID, b.Created.Add(time.Hour)
	recipient, err := age.ParseX25519Recipient(m.Recipients[0])
	if err != nil {
		t.Fatal(err)
	}
	m.Stored, err = b.objects.Write(t.Context(), m.Name(), []age.Recipient{recipient}, 0, nil,
		func(_ context.Context, w io.Writer) (services.Contents, error) {
			_, err := io.WriteString(w, "what changed")
			return services.Contents{Format: "postgres-1", Counts: map[string]int64{"tables": 1}, Incremental: true}, err
		})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.objects.PutManifest(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if out := mustVerb(t, "backups", "show", m.Name()); !strings.Contains(out, b.ID) {
		t.Errorf("show does not say what it builds on: %s", out)
	}
	if out := mustVerb(t, "backups", "check", m.Name()); !strings.Contains(out, "ok: "+m.Name()) || !strings.Contains(out, "ok: "+b.Name()) {
		t.Errorf("check: %s", out)
	}
	mustVerb(t, "backups", "export", m.Name(), "--file", "copy", "--identity", b.key)
	for name, want := range map[string]string{"copy": "what changed", "copy.base-1": "the copy"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := runVerb(t, "backups", "export", m.Name(), "--file", "-", "--identity", b.key); !isUsage(err) || !strings.Contains(err.Error(), "2 files") {
		t.Error(err)
	}
	if err := b.objects.Delete(t.Context(), b.Name()); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"check", "check " + m.Name(), "export " + m.Name() + " --file other --identity " + b.key} {
		if _, err := runVerb(t, append([]string{"backups"}, strings.Fields(line)...)...); err == nil || !strings.Contains(err.Error(), "builds on another backup") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestBackupsCommands(t *testing.T) {
	b := storeBackup(t)
	t.Run("list", func(t *testing.T) {
		for _, line := range []string{"", "--instance i1", "--instance " + b.Instance.Name, "--plan postgres-small", "--service sid", "--organization " + organization} {
			if out := mustVerb(t, append([]string{"backups", "list"}, strings.Fields(line)...)...); !strings.Contains(out, b.Name()) || !strings.Contains(out, "before-migration") {
				t.Errorf("%s: %s", line, out)
			}
		}
		for _, line := range []string{"--instance i2", "--plan large", "--space other", "--platform k8s", "--namespace n"} {
			if out := mustVerb(t, append([]string{"backups", "list"}, strings.Fields(line)...)...); strings.Contains(out, b.Name()) {
				t.Errorf("%s: %s", line, out)
			}
		}
		var found []backup.Manifest
		if err := json.Unmarshal([]byte(mustVerb(t, "backups", "list", "-o", "json")), &found); err != nil || len(found) != 1 || found[0].Stored.SHA256 != b.Stored.SHA256 {
			t.Errorf("%v: %+v", err, found)
		}
	})
	t.Run("show", func(t *testing.T) {
		if out := mustVerb(t, "backups", "show", b.Name()); !strings.Contains(out, "tables 1") || !strings.Contains(out, b.Stored.SHA256) {
			t.Error(out)
		}
		if _, err := runVerb(t, "backups", "show", b.Instance.Name+"/other"); err == nil || !strings.Contains(err.Error(), "not in the store") {
			t.Error(err)
		}
	})
	t.Run("export", func(t *testing.T) {
		if out := mustVerb(t, "backups", "export", b.Name(), "--file", "-", "--identity", b.key); out != "the copy" {
			t.Errorf("%q", out)
		}
		mustVerb(t, "backups", "export", b.Name(), "--file", "copy", "--identity", b.key)
		if text, err := os.ReadFile("copy"); err != nil || string(text) != "the copy" {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := runVerb(t, "backups", "export", b.Name(), "--file", "copy", "--identity", b.key); !isUsage(err) || !strings.Contains(err.Error(), "exists already") {
			t.Error(err)
		}
		if _, err := runVerb(t, "backups", "export", b.Name(), "--file", "without", "--identity", "catalog.yml"); !isUsage(err) || !strings.Contains(err.Error(), "age-keygen") {
			t.Error(err)
		}
		if _, err := runVerb(t, "backups", "export", b.Name(), "--file", "without"); err == nil || !strings.Contains(err.Error(), "--identity") {
			t.Error(err)
		}
		if _, err := os.Stat("without"); err == nil {
			t.Error("a failed export leaves a file")
		}
	})
	t.Run("check", func(t *testing.T) {
		if out := mustVerb(t, "backups", "check"); !strings.Contains(out, "ok: "+b.Name()) {
			t.Error(out)
		}
		object := filepath.Join(b.bucket, b.Stored.Object)
		text, err := os.ReadFile(object)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(object, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"check", "check " + b.Name(), "export " + b.Name() + " --file damaged --identity " + b.key} {
			if _, err := runVerb(t, append([]string{"backups"}, strings.Fields(line)...)...); err == nil || isUsage(err) || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("%s: %v", line, err)
			}
		}
		if _, err := os.Stat("damaged"); err == nil {
			t.Error("an export of a damaged backup leaves a file")
		}
	})
	t.Run("without a store", func(t *testing.T) {
		t.Setenv("SECRET", "")
		if _, err := runVerb(t, "backups", "list"); !isUsage(err) || !strings.Contains(err.Error(), "secret_access_key") {
			t.Error(err)
		}
		if err := os.WriteFile("catalog.yml", []byte("services: []\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := runVerb(t, "backups", "list"); !isUsage(err) || !strings.Contains(err.Error(), "CHANDLER_BACKUPS_ENDPOINT") {
			t.Error(err)
		}
	})
}

// The commands of the page work as they are printed there.
func TestBackupsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/backups.md")
	if err != nil {
		t.Fatal(err)
	}
	b := storeBackup(t)
	commands := regexp.MustCompile(`(?m)^\$ chandler (backups .*)$`).FindAllStringSubmatch(string(page), -1)
	if len(commands) < 5 {
		t.Fatalf("the page has %d commands", len(commands))
	}
	for _, c := range commands {
		line := strings.NewReplacer("INSTANCE/BACKUP", b.Name(), "backups.key", b.key).Replace(c[1])
		if out := mustVerb(t, strings.Fields(line)...); !strings.Contains(out, b.ID) && !strings.Contains(out, "copy.dump") {
			t.Errorf("%s: %s", line, out)
		}
	}
}
