package postgres

import (
	"context"
	"sync"
)

// guard is a session of the administrator that can end another session even if the
// server's lock table is full. The right to do so is in catalogs that all databases
// share. Reading them takes places in the lock table, unless the session has them
// cached, and a change of the other session's role evicts them. So the guard stays in a
// transaction, which keeps its locks. It has no snapshot, and does not prevent VACUUM.
type guard struct {
	mu  sync.Mutex
	s   *session
	end func()
}

// watchGuard opens the guard if there is none, or if it was disconnected.
func (b *backend) watchGuard(ctx context.Context) error {
	err := b.guarded(ctx, "")
	if disconnected(err) {
		err = b.guarded(ctx, "")
	}
	return err
}

// guarded runs a query in the guard.
func (b *backend) guarded(ctx context.Context, query string) error {
	b.guard.mu.Lock()
	defer b.guard.mu.Unlock()
	if b.guard.s == nil {
		if err := b.openGuard(ctx); err != nil {
			return err
		}
	}
	err := b.guard.s.exec(ctx, "SAVEPOINT place; "+query+"; RELEASE SAVEPOINT place")
	if err != nil && b.guard.s.exec(context.WithoutCancel(ctx), "ROLLBACK TO SAVEPOINT place; RELEASE SAVEPOINT place") != nil {
		b.closeGuard()
	}
	return err
}

func (b *backend) openGuard(ctx context.Context) error {
	c := b.admin.Clone()
	c.Runtime["idle_in_transaction_session_timeout"] = "0"
	s, end, err := dialSession(ctx, c)
	if err != nil {
		return err
	}
	err = s.exec(ctx, `BEGIN; SELECT FROM pg_catalog.pg_roles r, pg_catalog.pg_auth_members m, pg_catalog.pg_database d, pg_catalog.pg_locks l LIMIT 0`)
	if err != nil {
		end()
		return err
	}
	b.guard.s, b.guard.end = s, end
	return nil
}

func (b *backend) closeGuard() {
	if b.guard.s != nil {
		b.guard.end()
		b.guard.s = nil
	}
}
