package openstack

import (
	"context"
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/embedded"
)

// DatabaseService is a running Trove, each of whose instances is a MariaDB on a loopback address of
// its own, port 3306. A restart of Trove restarts the databases. Its exported methods are safe for
// concurrent use.
type DatabaseService struct {
	*embedded.Command
	cloud *Cloud
}

// What instances are made of. MariaDB serves all datastores.
const (
	// Datastore and DatastoreVersion are those of every instance, if its request names none.
	Datastore        = "mysql"
	DatastoreVersion = "5.7.29"
	// SmallFlavor and MediumFlavor are the names of flavors 2 and 3.
	SmallFlavor  = "m1.small"
	MediumFlavor = "m1.medium"
)

const guestFolder = "guest"

// troveModules are the modules of folder python that trove_server.py imports.
var troveModules = []string{"trove_shims.py", "trove_guest.py"}

// URL is the URL of the API, without the project.
func (d *DatabaseService) URL() string { return address(d.Port()) + "/v1.0" }

// network is the first three numbers of the instances' addresses. They belong to this cloud as the
// port does, from which they are made.
func (d *DatabaseService) network() string {
	return fmt.Sprintf("127.%d.%d", d.Port()/256, d.Port()%256)
}

func openDatabases(ctx context.Context, c *Cloud) (*DatabaseService, error) {
	command, err := embedded.OpenCommand(ctx, embedded.CommandOptions{Title: "Trove server", Dir: c.dir("trove").Dir})
	if err != nil {
		return nil, err
	}
	return &DatabaseService{command, c}, errors.Join(command.MakeDir("cloudinit"), command.MakeDir("guests"))
}

func (d *DatabaseService) start(ctx context.Context) error {
	if d == nil {
		return nil
	}
	s := d.cloud.settings(d.Command)
	program, err := s.python(d.cloud.ready, d.Command, "trove_server.py", "serve", "trove.conf", troveModules...)
	if err != nil {
		return err
	}
	program.Env = append(program.Env,
		"TROVE_GUESTS="+d.Path("guests"), "TROVE_NETWORK="+d.network(), "TROVE_TEMPLATE="+d.cloud.ready.guest())
	program.Ready = answers(address(d.Port()))
	return d.Start(ctx, program)
}

func (d *DatabaseService) stop(ctx context.Context) error {
	if d == nil {
		return nil
	}
	return d.Stop(ctx)
}
