package smb

import (
	"context"
	"errors"
	"maps"
	"sync"
)

// errAbsent is returned by verbs that need an instance which does not exist.
var errAbsent = errors.New("the instance's share does not exist; provision the instance again")

// converge writes the share that follows from the instance's accounts and from with,
// which may be nil, and is errAbsent where there is no share. Sessions keep the share
// as they know it until the caller tells them (reload or closeDenied), which it does
// even if nothing has changed: an earlier call may have died before that.
func (b *backend) converge(ctx context.Context, instance string, with func(*share)) error {
	return b.withAccount(ctx, instance, func(t *table, a account) error {
		current, err := b.samba.share(ctx, b.names.of(instance))
		if err != nil {
			return err
		}
		if current == nil {
			return errAbsent
		}
		return b.putShare(ctx, t, a, current, with)
	})
}

// withAccount calls f with the instance's account while nobody else can change
// anything. It is errAbsent where there is no account: the account goes with the share,
// and a provision that was cut short must not create anything after that.
func (b *backend) withAccount(ctx context.Context, instance string, f func(*table, account) error) error {
	unlock, err := b.accounts.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	t, err := b.accounts.read()
	if err != nil {
		return err
	}
	a, ok := t.find(instance)
	if !ok {
		return errAbsent
	}
	return f(t, a)
}

// putShare writes the share of an instance unless it is the current one.
func (b *backend) putShare(ctx context.Context, t *table, a account, current section, with func(*share)) error {
	s, name := shareOf(current), b.names.of(a.instance)
	if with != nil {
		with(&s)
	}
	next := s.section(b.folder.path(name), b.names, a, t.bindings(a.instance))
	if maps.Equal(current, next) {
		return nil
	}
	return b.samba.putShare(ctx, name, next)
}

// together makes calls side by side: most of a program's time is its start. It returns
// when all have ended.
func together(calls ...func() error) error {
	errs := make([]error, len(calls))
	var all sync.WaitGroup
	for i, call := range calls {
		all.Go(func() { errs[i] = call() })
	}
	all.Wait()
	return errors.Join(errs...)
}
