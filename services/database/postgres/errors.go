package postgres

import (
	"errors"
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
)

// SQLSTATEs that mean something to this package (PostgreSQL documentation,
// "Error Codes").
const (
	outOfMemory           pqerror.Code = "53200"
	diskFull              pqerror.Code = "53100"
	cannotConnectNow      pqerror.Code = "57P03"
	crashShutdown         pqerror.Code = "57P02"
	invalidAuthorization  pqerror.Code = "28000"
	tooManyConnections    pqerror.Code = "53300"
	insufficientPrivilege pqerror.Code = "42501"
	objectInUse           pqerror.Code = "55006"
	lockNotAvailable      pqerror.Code = "55P03"
	noSuchDatabase        pqerror.Code = "3D000"
	dependentObjects      pqerror.Code = "2BP01"
	wrongObjectType       pqerror.Code = "42809"
	invalidParameter      pqerror.Code = "22023"
	undefinedObject       pqerror.Code = "42704"
	undefinedTable        pqerror.Code = "42P01"
	undefinedFile         pqerror.Code = "58P01"
	featureNotSupported   pqerror.Code = "0A000"
	uniqueViolation       pqerror.Code = "23505"
	duplicateTable        pqerror.Code = "42P07"
	duplicateObject       pqerror.Code = "42710"
	duplicateFunction     pqerror.Code = "42723"
	duplicateSchema       pqerror.Code = "42P06"
	invalidSchemaName     pqerror.Code = "3F000"
	queryCanceled         pqerror.Code = "57014"
	readOnlyTransaction   pqerror.Code = "25006"
	invalidPassword       pqerror.Code = "28P01"

	untranslatableCharacter  pqerror.Code = "22P05"
	characterNotInRepertoire pqerror.Code = "22021"
)

// is says whether err is the server's answer with one of the codes.
func is(err error, codes ...pqerror.Code) bool { return pq.As(err, codes...) != nil }

// answer is the server's own message.
func answer(err error) string {
	if a, ok := errors.AsType[*pq.Error](err); ok {
		return a.Message
	}
	return err.Error()
}

// dropped is the error where an instance's database is gone that was finished: its
// owner role is still there. The broker does not make it again: an application that
// finds it empty may take itself for newly installed, and a backup be replaced by
// nothing.
func dropped(st *state) error {
	if st.Database == nil && st.has(st.names.owner) {
		return services.Rejected("%s", droppedMessage)
	}
	return nil
}

const droppedMessage = "the database was dropped, with all its data; delete this service instance and create a new one, or ask your operator to restore it"

// explain says what was being done, and what to do where the server's own
// words would not.
func explain(doing string, err error) error {
	if _, rejected := services.IsRejected(err); err == nil || rejected {
		return err
	}
	if answer := (*pq.Error)(nil); !errors.As(err, &answer) && disconnected(err) {
		return fmt.Errorf("%s: the server is away or closed the connection: %w", doing, err)
	}
	switch {
	case is(err, diskFull):
		return services.OutOfCapacity(fmt.Errorf("%s: the server's disk is full; make room on it: %w", doing, err))
	case is(err, cannotConnectNow, crashShutdown):
		return fmt.Errorf("%s: the server is starting, or recovers from a crash; if that does not end, its log says why, such as a full disk: %w", doing, err)
	case is(err, lockNotAvailable):
		return fmt.Errorf("%s: another session holds a lock; the broker retries: %w", doing, err)
	case is(err, tooManyConnections):
		return fmt.Errorf("%s: the server has no connection left; raise its max_connections, or let its reserved_connections keep some back for the broker (PostgreSQL 16): %w", doing, err)
	case is(err, outOfMemory):
		return fmt.Errorf("%s: the server is out of memory or its lock table is full; raise max_locks_per_transaction, or give the server more memory: %w", doing, err)
	case is(err, queryCanceled):
		return fmt.Errorf("%s: the server did not finish in time; the broker retries: %w", doing, err)
	case is(err, readOnlyTransaction):
		return fmt.Errorf("%s: the server is read-only; let the url name the primary: %w", doing, err)
	case is(err, invalidPassword, invalidAuthorization):
		return fmt.Errorf("%s: the server refuses the administrator; check the password in url and pg_hba.conf, or run administrator.sql again: %w", doing, err)
	case is(err, insufficientPrivilege):
		return fmt.Errorf("%s: the administrator lacks a right; run administrator.sql again as a superuser: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
