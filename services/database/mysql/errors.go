package mysql

import (
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

// Errors of the server (MariaDB documentation, "MariaDB Error Codes").
const (
	writeFailed       = 3
	diskFull          = 1021
	deniedDatabase    = 1044
	tableFull         = 1114
	unknownCharacters = 1115
	deniedTable       = 1142
	lockWaitTimeout   = 1205
	deniedRight       = 1227
	valueRefused      = 1231
	collationMismatch = 1253
	unknownCollation  = 1273
	readOnlyServer    = 1290
	noSuchProcedure   = 1305
	deniedRoutine     = 1370
	statementTimeout  = 1969
)

// noRoom says whether the server's disk is full. For its own log the server quotes ENOSPC.
func noRoom(err error) bool {
	return mysqldb.Is(err, diskFull, tableFull) || mysqldb.Is(err, writeFailed) && strings.Contains(err.Error(), "Errcode: 28 ")
}

// explain adds what the broker was doing and what the operator can do.
func explain(doing string, err error) error { return services.Explain(doing, err, advice()) }

func advice() []services.Advice {
	on := func(numbers ...uint16) func(error) bool {
		return func(err error) bool { return mysqldb.Is(err, numbers...) }
	}
	return []services.Advice{
		{About: mysqldb.Disconnected, Text: "the server is away or closed the connection"},
		{About: on(mysqldb.TooManyConnections), Text: "the server has no connection left; raise its max_connections"},
		{About: on(mysqldb.DeniedLogin), Text: "the server does not know the administrator; check the url's user and password"},
		{About: on(deniedDatabase, deniedTable, deniedRight, deniedRoutine, mysqldb.NoSuchTable, noSuchProcedure),
			Text: "the administrator lacks a right or a procedure; run administrator.sql again as root"},
		{About: on(lockWaitTimeout, statementTimeout), Text: "another session holds a lock; the broker retries"},
		{About: noRoom, Text: "the server's disk is full; make room on it", Full: true},
		{About: on(readOnlyServer), Text: "the server is read-only; let the url name the primary"},
	}
}
