package openstack

import (
	"context"
	"errors"

	"github.com/chandler-broker/chandler/embedded"
)

// DNSService is a running Designate with a PowerDNS name server. Its exported methods are safe for
// concurrent use.
type DNSService struct {
	*embedded.Command
	// NameServer answers for the zones.
	NameServer *embedded.PowerDNS
	cloud      *Cloud
}

// transferPort is the name of the port from which the name server gets zones.
const transferPort = "transfer"

// URL is the URL of the API, without its version.
func (d *DNSService) URL() string { return address(d.Port()) }

func openDNS(ctx context.Context, c *Cloud) (*DNSService, error) {
	command, err := embedded.OpenCommand(ctx, embedded.CommandOptions{
		Title: "Designate server", Dir: c.dir("designate").Dir, Ports: []string{transferPort},
	})
	if err != nil {
		return nil, err
	}
	return &DNSService{Command: command, cloud: c}, nil
}

func (d *DNSService) startNameServer(ctx context.Context) (err error) {
	if d != nil {
		d.NameServer, err = embedded.StartSecondaryPowerDNS(ctx, d.cloud.dir("powerdns"))
	}
	return err
}

func (d *DNSService) start(ctx context.Context) error {
	if d == nil {
		return nil
	}
	s := d.cloud.settings(d.Command)
	s.TransferPort, s.NameServerPort = d.NamedPort(transferPort), d.NameServer.Port()
	s.NameServerAPI, s.NameServerKey = d.NameServer.APIURL(), d.NameServer.APIKey()
	program, err := s.python(d.cloud.ready, d.Command, "designate_server.py", "serve", "designate.conf")
	if err != nil {
		return err
	}
	if program.Files["pools.yaml"], err = s.render("pools.yaml"); err != nil {
		return err
	}
	program.Args = append(program.Args, d.Path("pools.yaml"))
	program.Ready = answers(d.URL())
	return d.Start(ctx, program)
}

func (d *DNSService) stop(ctx context.Context) error {
	if d == nil {
		return nil
	}
	err := d.Stop(ctx)
	if d.NameServer != nil {
		err = errors.Join(err, d.NameServer.Stop(ctx))
	}
	return err
}
