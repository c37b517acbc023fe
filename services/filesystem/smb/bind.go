package smb

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strconv"

	"github.com/cloudsoda/go-smb2"
	"golang.org/x/sync/errgroup"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// Bind implements services.Backend.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	if err := b.server.answers(ctx); err != nil {
		return services.BindResult{}, err
	}
	if err := b.bindingAccount(ctx, r); err != nil {
		return services.BindResult{}, err
	}
	password, user := r.Binding.Seed.Password("smb"), b.names.resource(r.Binding.Name)
	var programs errgroup.Group // most of a program's time is its start
	programs.Go(func() error { return b.samba.putUser(ctx, user, password) })
	programs.Go(func() error { return b.converge(ctx, r.Instance, nil) })
	if err := programs.Wait(); err != nil {
		return services.BindResult{}, err
	}
	// The client may already have a connection, on which it opens a session as this user.
	if err := b.samba.reload(ctx); err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: b.public.credentials(b.names.resource(r.Instance.Name), user, password, r.Binding.Params)}, nil
}

// bindingAccount makes a binding's account if it does not exist. One with another role, or half
// revoked, is another credential, which it first revokes.
func (b *backend) bindingAccount(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) error {
	wanted := writer
	if r.Binding.Params.ReadOnly {
		wanted = reader
	}
	t, err := b.accounts.read()
	if err != nil {
		return err
	}
	if a, ok := t.find(r.Binding.Name); ok && a.role == wanted {
		return nil
	} else if ok {
		if err := b.revoke(ctx, r.Instance, a); err != nil {
			return err
		}
	}
	return b.accounts.change(ctx, func(t *table) error {
		owner, ok := t.find(r.Instance.Name)
		if !ok {
			return errAbsent
		}
		if others := len(t.bindings(r.Instance.Name)); others >= r.Instance.Plan.Bindings {
			return services.Rejected("this instance has %d bindings, and its plan allows %d: remove one, or choose a larger plan", others, r.Instance.Plan.Bindings)
		}
		return b.accounts.create(t, account{name: r.Binding.Name, instance: r.Instance.Name, role: wanted, gid: owner.gid})
	})
}

// clientEndpoint is where applications find the server.
type clientEndpoint struct{ endpoint.Server }

// standardPort is SMB's; ports are those of clientEndpoint.
const standardPort = 445

var ports = map[string]uint16{"smb": standardPort}

// source is the share as mount.cifs(8) and the drivers around it name it.
func (c clientEndpoint) source(share string) string { return "//" + c.Host + "/" + share }

// credentials are what a binding's application reads, and what platforms mount.
func (c clientEndpoint) credentials(share, user string, password services.Secret, p BindingParams) services.Credentials {
	uri := url.URL{Scheme: "smb", User: url.UserPassword(user, password.Reveal()), Host: c.Address(), Path: "/" + share}
	credentials := c.Credentials(credentialType, "tcp", map[string]any{
		"share":      share,
		"username":   user,
		"password":   password.Reveal(),
		"read_only":  p.ReadOnly,
		"uri":        uri.String(),
		"kubernetes": c.kubernetes(share, user, p),
	})
	credentials.VolumeMounts = []services.VolumeMount{c.mount(share, user, password, p)}
	return credentials
}

// mount is the share for Cloud Foundry's smbdriver, which hides username and password.
func (c clientEndpoint) mount(share, user string, password services.Secret, p BindingParams) services.VolumeMount {
	m := services.VolumeMount{
		Driver: "smbdriver", ContainerDir: cmp.Or(p.Mount, defaultMounts+share), Mode: "rw", DeviceType: "shared",
		Device: services.VolumeDevice{
			// The driver mounts a volume once on a machine: each binding needs its own.
			VolumeID:    user,
			MountConfig: map[string]any{"source": c.source(share), "username": user, "password": password.Reveal()},
		},
	}
	if p.ReadOnly {
		m.Mode = "r"
		m.Device.MountConfig["ro"] = "true"
	}
	return m
}

// kubernetes are a PersistentVolume's attributes for csi-driver-smb (docs/driver-parameters.md).
func (c clientEndpoint) kubernetes(share, user string, p BindingParams) map[string]any {
	options := []any{"vers=3.1.1", "seal", "dir_mode=0777", "file_mode=0777", "noperm"}
	if c.Port != standardPort {
		options = append(options, "port="+strconv.Itoa(int(c.Port)))
	}
	mode := "ReadWriteMany"
	if p.ReadOnly {
		options, mode = append(options, "ro"), "ReadOnlyMany"
	}
	return map[string]any{
		"driver": "smb.csi.k8s.io",
		// One volume of a name is mounted on a node, as with smbdriver.
		"volume_handle":     user,
		"volume_attributes": map[string]any{"source": c.source(share)},
		"access_modes":      []any{mode},
		"mount_options":     options,
		"read_only":         p.ReadOnly,
	}
}

var _ services.Verifier[Plan, InstanceParams, BindingParams] = (*backend)(nil)

// Verify implements services.Verifier: users can change their passwords if IPC$ is open.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	t, err := b.accounts.read()
	if err != nil {
		return services.VerifyResult{}, err
	}
	if a, _ := t.find(r.Binding.Name); !a.usable() {
		return services.VerifyResult{}, nil
	}
	user, password := b.names.resource(r.Binding.Name), r.Binding.Seed.Password("smb")
	err = b.server.admits(ctx, user, password)
	if _, refused := errors.AsType[*smb2.ResponseError](err); refused {
		return services.VerifyResult{}, b.samba.putUser(ctx, user, password)
	}
	return services.VerifyResult{}, err
}
