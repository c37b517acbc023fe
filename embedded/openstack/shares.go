package openstack

import (
	"context"
	"errors"

	"github.com/chandler-broker/chandler/embedded"
)

// ShareService is a running Manila on Ceph. Its exported methods are safe for concurrent use.
type ShareService struct {
	*embedded.Command
	cloud *Cloud
}

// The share types.
const (
	// CephFS is the share type whose shares are folders in Ceph.
	CephFS = "cephfs"
	// NFS is the share type of a driver that has no server: its shares cannot be mounted.
	NFS = "nfs"
)

// URL is the URL of the API.
func (s *ShareService) URL() string { return address(s.Port()) + "/v2" }

func openShares(ctx context.Context, c *Cloud) (*ShareService, error) {
	command, err := embedded.OpenCommand(ctx, embedded.CommandOptions{Title: "Manila server", Dir: c.dir("manila").Dir})
	if err != nil {
		return nil, err
	}
	return &ShareService{command, c}, errors.Join(command.MakeDir("locks"), command.MakeDir("coordination"))
}

// start starts the server once Ceph has the file system.
func (s *ShareService) start(ctx context.Context) error {
	if s == nil {
		return nil
	}
	values := s.cloud.settings(s.Command)
	values.CephConfig = s.cloud.Ceph.ConfigFile()
	program, err := values.python(s.cloud.ready, s.Command, "manila_server.py", "serve", "manila.conf")
	if err != nil {
		return err
	}
	program.Ready = answers(address(s.Port()))
	return s.Start(ctx, program)
}

func (s *ShareService) stop(ctx context.Context) error {
	if s == nil {
		return nil
	}
	return s.Stop(ctx)
}
