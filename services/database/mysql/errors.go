package mysql

import (
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
)

// Errors of the server (MariaDB documentation, "MariaDB Error Codes").
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

// noRoom says whether the server's disk is full. For its own log the server quotes ENOSPC.
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
func explain(doing string, err error) error { return services.Explain(doing, err, advice()) }

func advice() []services.Advice {
	on := func(numbers ...uint16) func(error) bool {
		return func(err error) bool { return is(err, numbers...) }
	}
	return []services.Advice{
		{About: disconnected, Text: "the server is away or closed the connection"},
		{About: on(tooManyConnections), Text: "the server has no connection left; raise its max_connections"},
		{About: on(deniedLogin), Text: "the server does not know the administrator; check the url's user and password"},
		{About: on(deniedDatabase, deniedTable, deniedRight, deniedRoutine, noSuchTable, noSuchProcedure),
			Text: "the administrator lacks a right or a procedure; run administrator.sql again as root"},
		{About: on(lockWaitTimeout, statementTimeout), Text: "another session holds a lock; the broker retries"},
		{About: noRoom, Text: "the server's disk is full; make room on it", Full: true},
		{About: on(readOnlyServer), Text: "the server is read-only; let the url name the primary"},
	}
}
