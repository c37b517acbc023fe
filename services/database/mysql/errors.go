package mysql

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
)

// Errors of the server that mean something to this package (MariaDB
// documentation, "MariaDB Error Codes").
const (
	writeFailed        = 3
	diskFull           = 1021
	tooManyConnections = 1040
	deniedDatabase     = 1044
	deniedLogin        = 1045
	tableExists        = 1050
	tableFull          = 1114
	unknownCharacters  = 1115
	deniedTable        = 1142
	noSuchTable        = 1146
	lockWaitTimeout    = 1205
	deniedRight        = 1227
	valueRefused       = 1231
	collationMismatch  = 1253
	unknownCollation   = 1273
	readOnlyServer     = 1290
	noSuchProcedure    = 1305
	deniedRoutine      = 1370
	statementTimeout   = 1969
)

// is says whether the server answered with one of the numbers.
func is(err error, numbers ...uint16) bool {
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains(numbers, answer.Number)
}

// noRoom says whether the server's disk is full. For its own tables' log the server quotes
// the operating system's error number: 28, ENOSPC.
func noRoom(err error) bool {
	return is(err, diskFull, tableFull) || is(err, writeFailed) && strings.Contains(err.Error(), "Errcode: 28 ")
}

// disconnected says whether the connection ended without an answer.
func disconnected(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// explain adds what the broker was doing and what the operator can do.
func explain(doing string, err error) error {
	if _, rejected := services.IsRejected(err); err == nil || rejected {
		return err
	}
	switch {
	case disconnected(err):
		return fmt.Errorf("%s: the server is away or closed the connection: %w", doing, err)
	case is(err, tooManyConnections):
		return fmt.Errorf("%s: the server has no connection left; raise its max_connections: %w", doing, err)
	case is(err, deniedLogin):
		return fmt.Errorf("%s: the server does not know the administrator; check the url's user and password: %w", doing, err)
	case is(err, deniedDatabase, deniedTable, deniedRight, deniedRoutine, noSuchTable, noSuchProcedure):
		return fmt.Errorf("%s: the administrator lacks a right or a procedure; run administrator.sql again as root: %w", doing, err)
	case is(err, lockWaitTimeout, statementTimeout):
		return fmt.Errorf("%s: another session holds a lock; the broker retries: %w", doing, err)
	case noRoom(err):
		return services.OutOfCapacity(fmt.Errorf("%s: the server's disk is full; make room on it: %w", doing, err))
	case is(err, readOnlyServer):
		return fmt.Errorf("%s: the server is read-only; let the url name the primary: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
