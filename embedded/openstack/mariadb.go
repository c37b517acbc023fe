package openstack

import (
	"context"
	"crypto/rand"

	"github.com/chandler-broker/chandler/embedded"
)

// startMariaDB starts the services' database server on a copy of the prepared data.
func (c *Cloud) startMariaDB(ctx context.Context) (err error) {
	if c.Database, err = embedded.StartMariaDBCopy(ctx, c.dir("mariadb"), c.ready.mariaDB()); err != nil {
		return err
	}
	c.databasePassword = rand.Text()
	return c.settings(c.Identity.Command).makeDatabases(ctx, c.Database)
}

func (c *Cloud) stopMariaDB(ctx context.Context) error {
	if c.Database == nil {
		return nil
	}
	return c.Database.Stop(ctx)
}

// settings are those that all services share, for one of them.
func (c *Cloud) settings(own *embedded.Command) settings {
	return settings{
		packages: c.packages, mariaDB: c.Database.Address(), databasePassword: c.databasePassword,
		identity: c.Identity.Port(), passwords: c.Identity.passwords, endpoints: c.endpoints(),
		Port: own.Port(), State: own.Path("."), Keys: c.Identity.Path("."),
	}
}

// endpoints are the services that run.
func (c *Cloud) endpoints() []endpoint {
	list := []endpoint{}
	if c.DNS != nil {
		list = append(list, endpoint{"designate", "dns", c.DNS.URL(), c.Identity.passwords["designate"]})
	}
	if c.Shares != nil {
		list = append(list, endpoint{"manila", "sharev2", c.Shares.URL(), c.Identity.passwords["manila"]})
	}
	if c.Databases != nil {
		list = append(list, endpoint{"trove", "database", c.Databases.URL() + "/$(project_id)s", c.Identity.passwords["trove"]})
	}
	return list
}
