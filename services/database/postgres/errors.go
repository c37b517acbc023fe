package postgres

import (
	"errors"
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
)

// is says whether the server answered with one of the codes.
func is(err error, codes ...pqerror.Code) bool { return pq.As(err, codes...) != nil }

// answer is the server's own message.
func answer(err error) string {
	if a, ok := errors.AsType[*pq.Error](err); ok {
		return a.Message
	}
	return err.Error()
}

// dropped is the error of an instance whose owner role exists without its database. The
// broker does not make that again: an application that finds it empty may install itself
// anew, and an empty backup may replace the last good one.
func dropped(st *state) error {
	if st.Database == nil && st.has(st.names.owner) {
		return services.Rejected("%s", droppedMessage)
	}
	return nil
}

const droppedMessage = "the database was dropped, with all its data; delete this service instance and create a new one, or ask your operator to restore it"

// explain adds what the broker was doing and, where the server does not say it, what the
// operator can do.
func explain(doing string, err error) error {
	if _, rejected := services.IsRejected(err); err == nil || rejected {
		return err
	}
	if answer := (*pq.Error)(nil); !errors.As(err, &answer) && disconnected(err) {
		return fmt.Errorf("%s: the server is away or closed the connection: %w", doing, err)
	}
	switch {
	case is(err, pqerror.DiskFull):
		return services.OutOfCapacity(fmt.Errorf("%s: the server's disk is full; make room on it: %w", doing, err))
	case is(err, pqerror.CannotConnectNow, pqerror.CrashShutdown):
		return fmt.Errorf("%s: the server is starting, or recovers from a crash; if that does not end, its log says why, such as a full disk: %w", doing, err)
	case is(err, pqerror.LockNotAvailable):
		return fmt.Errorf("%s: another session holds a lock; the broker retries: %w", doing, err)
	case is(err, pqerror.TooManyConnections):
		return fmt.Errorf("%s: the server has no connection left; raise its max_connections, or let its reserved_connections keep some back for the broker (PostgreSQL 16): %w", doing, err)
	case is(err, pqerror.OutOfMemory):
		return fmt.Errorf("%s: the server is out of memory or its lock table is full; raise max_locks_per_transaction, or give the server more memory: %w", doing, err)
	case is(err, pqerror.QueryCanceled):
		return fmt.Errorf("%s: the server did not finish in time; the broker retries: %w", doing, err)
	case is(err, pqerror.ReadOnlySQLTransaction):
		return fmt.Errorf("%s: the server is read-only; let the url name the primary: %w", doing, err)
	case is(err, pqerror.InvalidPassword, pqerror.InvalidAuthorizationSpecification):
		return fmt.Errorf("%s: the server refuses the administrator; check the password in url and pg_hba.conf, or run administrator.sql again: %w", doing, err)
	case is(err, pqerror.InsufficientPrivilege):
		return fmt.Errorf("%s: the administrator lacks a right; run administrator.sql again as a superuser: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
