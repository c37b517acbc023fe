package smb

import (
	"context"
	"errors"
	"maps"
)

// errAbsent is what a verb gets that needs an instance which is not there.
var errAbsent = errors.New("the instance's share is not there; provision the instance again")

// settle writes the share that follows from an instance's accounts and what
// with says of it, and tells the server. with may be nil. Where there is no
// share it is errAbsent, unless folder, which makes the share's, is given. It is
// errAbsent too where the account has gone: it goes with the share, and a provision
// that was cut short must not make anything after that.
func (b *backend) settle(ctx context.Context, instance string, folder func(account) error, with func(*share)) error {
	unlock, err := b.accounts.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	name := b.names.of(instance)
	t, err := b.accounts.read()
	if err != nil {
		return err
	}
	current, err := b.samba.share(ctx, name)
	if err != nil {
		return err
	}
	a, ok := t.find(instance)
	if !ok || (current == nil && folder == nil) {
		return errAbsent
	}
	if folder != nil {
		if err := folder(a); err != nil {
			return err
		}
	}
	s := shareOf(current)
	if with != nil {
		with(&s)
	}
	next := s.section(b.folder.path(name), b.names, a, t.bindings(instance))
	if !maps.Equal(current, next) {
		if err := b.samba.putShare(ctx, name, next); err != nil {
			return err
		}
	}
	// Also where nothing has changed: who changed it may have died before this.
	return b.samba.reload(ctx)
}
