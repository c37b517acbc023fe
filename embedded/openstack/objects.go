package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/chandler-broker/chandler/embedded"
)

// ObjectService is a running RADOS gateway on Ceph. Its exported methods are safe for concurrent
// use.
type ObjectService struct {
	*embedded.Command
	cloud *Cloud
	key   gatewayKey
}

// gatewayKey is a key of the gateway's administrator.
type gatewayKey struct {
	ID     string `json:"access_key"`
	Secret string `json:"secret_key"`
}

const (
	gatewayAdmin     = "chandler"
	gatewayAdminFile = "admin.json"
	gatewayCaps      = "users=*;buckets=read;metadata=read"
)

// Endpoint is the URL of the S3 API and the administration API.
func (o *ObjectService) Endpoint() string { return address(o.Port()) }

// AccessKeyID is a key of the broker's account, which may use the administration API.
func (o *ObjectService) AccessKeyID() string { return o.key.ID }

// SecretAccessKey is the secret of AccessKeyID.
func (o *ObjectService) SecretAccessKey() string { return o.key.Secret }

func openObjects(ctx context.Context, c *Cloud) (*ObjectService, error) {
	command, err := embedded.OpenCommand(ctx, embedded.CommandOptions{Title: "RADOS gateway", Dir: c.dir("radosgw").Dir})
	if err != nil {
		return nil, err
	}
	return &ObjectService{Command: command, cloud: c}, nil
}

func (o *ObjectService) start(ctx context.Context) error {
	if o == nil {
		return nil
	}
	ceph := o.cloud.Ceph
	if err := o.makeAdmin(ctx); err != nil {
		return err
	}
	program, err := ceph.program(o.Command, "radosgw", "-n", "client.rgw", "-f")
	if err != nil {
		return err
	}
	program.Ready, program.Abrupt = answers(o.Endpoint()), true
	return o.Start(ctx, program)
}

// makeAdmin makes the administrator's account, if necessary. The gateway generates its key, which
// would otherwise be in the arguments of radosgw-admin.
func (o *ObjectService) makeAdmin(ctx context.Context) (err error) {
	if o.key, err = readKey(o.Path(gatewayAdminFile)); err == nil {
		return nil
	}
	if err := os.Remove(o.Path(gatewayAdminFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Two arguments follow: the user's id and its rights.
	const script = `radosgw-admin "$1" "$2" -n client.rgw user info --uid="$3" 2>/dev/null ||
		radosgw-admin "$1" "$2" -n client.rgw user create --uid="$3" --display-name="$3" --caps="$4"`
	program, err := o.cloud.Ceph.program(o.Command, "radosgw-admin")
	if err != nil {
		return err
	}
	program.Log, program.Path = gatewayAdminFile, "/bin/sh"
	program.Args = append([]string{"-c", script, "sh"}, append(program.Args, gatewayAdmin, gatewayCaps)...)
	if err := o.Tool(ctx, program); err != nil {
		return fmt.Errorf("make the administrator of the RADOS gateway: %w", err)
	}
	o.key, err = readKey(o.Path(gatewayAdminFile))
	return err
}

// readKey reads radosgw-admin's description of a user.
func readKey(path string) (gatewayKey, error) {
	text, err := os.ReadFile(path) //nolint:gosec // in the gateway's own folder
	if err != nil {
		return gatewayKey{}, err
	}
	var user struct {
		Keys []gatewayKey `json:"keys"`
	}
	for i := range text { // log messages may come first
		if text[i] == '{' && json.Unmarshal(text[i:], &user) == nil && len(user.Keys) > 0 {
			return user.Keys[0], nil
		}
	}
	return gatewayKey{}, fmt.Errorf("%s: no key of the gateway's administrator: %.200s", path, text)
}

func (o *ObjectService) stop(ctx context.Context) error {
	if o == nil {
		return nil
	}
	return o.Stop(ctx)
}
