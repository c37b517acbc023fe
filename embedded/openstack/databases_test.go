package openstack

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/databases"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/instances"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/users"
)

func databasesClient(t *testing.T, p *gophercloud.ProviderClient) *gophercloud.ServiceClient {
	t.Helper()
	client, err := openstack.NewDBV1(p, anywhere)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// makeInstance makes an instance with a database and a user, and returns its id and address.
func makeInstance(t *testing.T, client *gophercloud.ServiceClient) (id, address string) {
	t.Helper()
	i, err := instances.Create(t.Context(), client, instances.CreateOpts{
		Name: "shop", FlavorRef: "2", Size: 1,
		Datastore: &instances.DatastoreOpts{Type: Datastore, Version: DatastoreVersion},
		Databases: databases.BatchCreateOpts{{Name: "shop", CharSet: "latin2", Collate: "latin2_general_ci"}},
		Users:     users.BatchCreateOpts{{Name: "one", Password: "secret-one", Databases: databases.BatchCreateOpts{{Name: "shop"}}}},
	}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	until(t, "wait for the instance", func() bool {
		i, err = instances.Get(t.Context(), client, i.ID).Extract()
		return err != nil || i.Status == "ACTIVE" || i.Status == "HEALTHY" || i.Status == "ERROR"
	})
	if err != nil || i.Status == "ERROR" {
		t.Fatalf("the instance is %s: %v", i.Status, err)
	}
	var full struct {
		Instance struct {
			Addresses []struct{ Address string } `json:"addresses"`
		} `json:"instance"`
	}
	_, err = client.Get(t.Context(), client.ServiceURL("instances", i.ID), &full, nil) //nolint:bodyclose // it closes it
	if err != nil || len(full.Instance.Addresses) != 1 {
		t.Fatal(full, err)
	}
	return i.ID, full.Instance.Addresses[0].Address
}

// query runs statements as a user of an instance, and returns the last one's only value.
func query(t *testing.T, address, user, password string, statements ...string) (value string, err error) {
	t.Helper()
	config := driver.NewConfig()
	config.Net, config.Addr, config.User, config.Passwd, config.DBName = "tcp", address+":3306", user, password, "shop"
	connector, err := driver.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	for _, s := range statements[:len(statements)-1] {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			return "", err
		}
	}
	err = db.QueryRowContext(t.Context(), statements[len(statements)-1]).Scan(&value)
	return value, err
}

// databaseTenant has a row in a database of an instance, and users.
type databaseTenant struct {
	id, address string
	users       int
}

func (d *databaseTenant) begin(t *testing.T, c *Cloud, project string) {
	t.Helper()
	d.id, d.address = makeInstance(t, databasesClient(t, login(t, c, c.Identity.Broker(), project)))
	got, err := query(t, d.address, "one", "secret-one", "create table words (word text)", "insert into words values ('"+word+"')", "select @@collation_database")
	if err != nil || got != "latin2_general_ci" {
		t.Fatalf("collation %q, %v", got, err)
	}
	for _, login := range []string{"root", "os_admin"} {
		if _, err := query(t, d.address, login, "", "select 1"); err == nil {
			t.Errorf("%s logs in without a password", login)
		}
	}
}

// continues also wants Trove to administer the instance.
func (d *databaseTenant) continues(t *testing.T, c *Cloud, project string) {
	t.Helper()
	holds(t, c.Databases, "instance "+d.id)
	d.users++
	name, password := fmt.Sprintf("user%d", d.users), fmt.Sprintf("secret-%d", d.users)
	client := databasesClient(t, login(t, c, c.Identity.Broker(), project))
	if err := users.Create(t.Context(), client, d.id, users.BatchCreateOpts{{Name: name, Password: password, Databases: databases.BatchCreateOpts{{Name: "shop"}}}}).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	for user, secret := range map[string]string{"one": "secret-one", name: password} {
		if got, err := query(t, d.address, user, secret, "select word from words"); err != nil || got != word {
			t.Errorf("%s: %q, %v", user, got, err)
		}
	}
}

// A deleted user is refused, and a deleted instance leaves no process.
func testDatabaseEnds(t *testing.T, c *Cloud, project string, d *databaseTenant) {
	client := databasesClient(t, login(t, c, c.Identity.Broker(), project))
	if err := users.Delete(t.Context(), client, d.id, "one").ExtractErr(); err != nil {
		t.Fatal(err)
	}
	until(t, "refuse a deleted user", func() bool {
		_, err := query(t, d.address, "one", "secret-one", "select 1")
		return err != nil && strings.Contains(err.Error(), "1045")
	})
	if err := instances.Delete(t.Context(), client, d.id).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	until(t, "delete the instance", func() bool {
		_, err := instances.Get(t.Context(), client, d.id).Extract()
		return gophercloud.ResponseCodeIs(err, http.StatusNotFound)
	})
	holds(t, c.Databases)
	noProcesses(t, c.Databases.Path("guests"))
}
