package smb

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/cloudsoda/go-smb2"

	"github.com/chandler-broker/chandler/services"
)

var _ services.Verifier[Plan, InstanceParams, BindingParams] = (*backend)(nil)

// Verify implements services.Verifier. If a server's IPC$ is open, users can change their own
// passwords through it.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	t, err := b.accounts.read()
	if err != nil {
		return services.VerifyResult{}, err
	}
	a, ok := t.find(r.Binding.Name)
	if !ok || a.role != reader && a.role != writer {
		return services.VerifyResult{}, nil
	}
	user, password := b.names.of(r.Binding.Name), r.Binding.Seed.Password("smb")
	err = b.server.admits(ctx, user, password)
	if _, refused := errors.AsType[*smb2.ResponseError](err); refused {
		return services.VerifyResult{}, b.samba.putUser(ctx, user, password)
	}
	return services.VerifyResult{}, err
}

// admits logs in and connects to no share. A *smb2.ResponseError says that the server refuses
// the user.
func (s server) admits(ctx context.Context, user string, password services.Secret) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", string(s))
	if err != nil {
		return fmt.Errorf("samba does not answer: %w", err)
	}
	defer conn.Close()
	dialer := smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: user, Password: password.Reveal()}}
	if _, err := dialer.DialConn(ctx, conn, string(s)); err != nil {
		return fmt.Errorf("log in as %s: %w", user, err)
	}
	return nil
}
