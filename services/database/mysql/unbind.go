package mysql

import (
	"context"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Unbind implements services.Backend. First nobody can log in as the account
// any more, then its sessions end, then it goes.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	n, name := b.names.database(r.Instance.Name), b.names.account(r.Binding.Name)
	s, st, err := b.begin(ctx, patience, n)
	if err != nil {
		return services.UnbindResult{}, err
	}
	defer s.release(ctx)
	left, err := s.endSessions(ctx, "close_account", []string{name})
	if err != nil {
		return services.UnbindResult{}, explain("close the binding's account", err)
	}
	if left > 0 {
		return services.UnbindResult{}, sessionsLeft()
	}
	if r.Instance.Name == "" { // it has rights nowhere, or it would have told its instance
		return services.UnbindResult{}, explain("drop the binding's account", s.exec(ctx, call("drop_account", name)))
	}
	return services.UnbindResult{}, s.dropUnused(ctx, st, name)
}

func sessionsLeft() error {
	return services.NotYet(200*time.Millisecond, "sessions are being ended")
}
