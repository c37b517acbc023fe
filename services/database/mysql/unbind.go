package mysql

import (
	"context"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Unbind implements services.Backend. First nobody can log in as the account
// any more, then its sessions end, then it goes.
func (b *backend) Unbind(ctx context.Context, inst instance, bd binding) error {
	n, name := b.names.database(inst.Name), b.names.account(bd.Name)
	s, st, err := b.begin(ctx, patience, n)
	if err != nil {
		return err
	}
	defer s.release(ctx)
	left, err := s.endSessions(ctx, "close_account", []string{name})
	if err != nil {
		return explain("close the binding's account", err)
	}
	if left > 0 {
		return sessionsLeft()
	}
	if inst.Name == "" { // it has rights nowhere, or it would have told its instance
		return explain("drop the binding's account", s.exec(ctx, call("drop_account", name)))
	}
	return s.dropUnused(ctx, st, name)
}

func sessionsLeft() error {
	return services.NotYet(200*time.Millisecond, "sessions are being ended")
}
