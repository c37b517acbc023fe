package openstack

import (
	"database/sql"
	"net/http"
	"strings"
	"testing"
	"time"

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

// Rows survive kill -9 of Trove and its databases, and a second start, after which Trove still
// administers the instance.
func TestDatabases(t *testing.T) {
	dir := reachable(t)
	c := run(t, dir, Databases)
	shop, provider := project(t, c, "shop")
	client := databasesClient(t, provider)
	id, address := makeInstance(t, client)
	got, err := query(t, address, "one", "secret-one", "create table words (word text)", "insert into words values ('anchor')", "select @@collation_database")
	if err != nil || got != "latin2_general_ci" {
		t.Fatalf("collation %q, %v", got, err)
	}
	for _, login := range []string{"root", "os_admin"} {
		if _, err := query(t, address, login, "", "select 1"); err == nil {
			t.Errorf("%s logs in without a password", login)
		}
	}
	holds(t, c.Databases, "instance "+id)
	c.Databases.Kill()
	if _, err := query(t, address, "one", "secret-one", "select 1"); err == nil {
		t.Error("a database outlived Trove")
	}
	if err := c.Databases.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := query(t, address, "one", "secret-one", "select word from words"); err != nil || got != "anchor" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
	stop(t, c)
	c = run(t, dir, Databases)
	client = databasesClient(t, login(t, c, c.Identity.Broker(), shop))
	if err := users.Create(t.Context(), client, id, users.BatchCreateOpts{{Name: "two", Password: "secret-two", Databases: databases.BatchCreateOpts{{Name: "shop"}}}}).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if got, err := query(t, address, "two", "secret-two", "select word from words"); err != nil || got != "anchor" {
		t.Errorf("after the second start: %q, %v", got, err)
	}
	if err := users.Delete(t.Context(), client, id, "one").ExtractErr(); err != nil {
		t.Fatal(err)
	}
	until(t, "refuse a deleted user", func() bool {
		_, err := query(t, address, "one", "secret-one", "select 1")
		return err != nil && strings.Contains(err.Error(), "1045")
	})
	if err := instances.Delete(t.Context(), client, id).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	until(t, "delete the instance", func() bool {
		_, err := instances.Get(t.Context(), client, id).Extract()
		return gophercloud.ResponseCodeIs(err, http.StatusNotFound)
	})
	holds(t, c.Databases)
	for end := time.Now().Add(20 * time.Second); len(commandLines(t, c.Databases.Path("guests"))) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("processes are left: %q", commandLines(t, c.Databases.Path("guests")))
		}
	}
}
