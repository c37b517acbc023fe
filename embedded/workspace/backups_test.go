package workspace

import (
	"context"
	"errors"
	"io"
	"testing"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/filesystem/s3"
)

// The gateway of chandler dev stores the backups in a bucket that no tenant's key opens, whatever
// happened before.
func TestBackupsOfDev(t *testing.T) {
	g := embeddedtest.VersityGW(t, embedded.VersityGWOptions{})
	var store catalog.BackupStore
	for _, secret := range []string{"first-secret", "second-secret", "second-secret"} {
		variables, err := prepareBackups(t.Context(), g, secret)
		if err != nil {
			t.Fatal(err)
		}
		store = storeOf(t, variables)
	}
	objects, err := backup.Open(store)
	if err != nil {
		t.Fatal(err)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := objects.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored, err := objects.Write(t.Context(), backup.Name("i", "1"), []age.Recipient{key.Recipient()}, 0, nil,
		func(_ context.Context, w io.Writer) (services.Contents, error) {
			_, err := io.WriteString(w, "copy")
			return services.Contents{Format: "test-1"}, err
		})
	if err != nil {
		t.Fatal(err)
	}
	refusesTenants(t, g, stored)
	if err := objects.Check(t.Context(), stored); err != nil {
		t.Error(err)
	}
	if err := objects.Delete(t.Context(), backup.Name("i", "1")); err != nil {
		t.Error(err)
	}
}

// storeOf is the store that a catalog finds with the variables.
func storeOf(t *testing.T, variables map[string]string) catalog.BackupStore {
	t.Helper()
	c, err := catalog.Parse("catalog.yml", []byte("services: []"), nil, func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	return c.Backups().Store
}

// refusesTenants tries everything with a tenant's key.
func refusesTenants(t *testing.T, g *embedded.VersityGW, stored backup.Stored) {
	t.Helper()
	credentials := tenant(t, g)
	session, err := objectstore.Dial(t.Context(), credentials)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Write(t.Context(), "its own", "value"); err != nil {
		t.Fatal(err) // the key works
	}
	theirs := *session.(*objectstore.Session)
	theirs.Bucket = backupsName
	tries := map[string]error{"list": theirs.Ping(t.Context()), "write": theirs.Write(t.Context(), stored.Object, "x")}
	_, tries["read"] = theirs.Read(t.Context(), stored.Object)
	tries["delete"] = theirs.Client.RemoveObject(t.Context(), backupsName, stored.Object, minio.RemoveObjectOptions{})
	_, tries["read the policy"] = theirs.Client.GetBucketPolicy(t.Context(), backupsName)
	tries["write the policy"] = theirs.Client.SetBucketPolicy(t.Context(), backupsName, `{"Version":"2012-10-17","Statement":[]}`)
	for what, err := range tries {
		if answer, _ := errors.AsType[minio.ErrorResponse](err); answer.Code != minio.AccessDenied {
			t.Errorf("%s: %v (%s); want AccessDenied", what, err, answer.Code)
		}
	}
}

// tenant returns the credentials of a tenant's binding on the gateway.
func tenant(t *testing.T, g *embedded.VersityGW) map[string]any {
	t.Helper()
	def := s3.Definition()
	config, err := def.DecodeConfig([]byte(`{"endpoint": "` + g.Endpoint() + `", "access_key_id": "` + g.AccessKeyID() + `", "secret_access_key": "` + g.SecretAccessKey() + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	driver, err := def.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := def.DecodePlan(nil)
	if err != nil {
		t.Fatal(err)
	}
	inst := services.RawInstance{ID: "i", Plan: plan}
	if _, err := driver.Provision(t.Context(), services.RawProvision{Instance: inst}); err != nil {
		t.Fatal(err)
	}
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	bound, err := driver.Bind(t.Context(), services.RawBind{Instance: inst, Binding: services.RawBinding{ID: "b", Seed: seed}})
	if err != nil {
		t.Fatal(err)
	}
	return bound.Credentials.Values
}
