package mysqldb

import (
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/go-sql-driver/mysql"
)

// Errors of the servers (MariaDB documentation, "MariaDB Error Codes").
const (
	TooManyConnections = 1040
	DeniedLogin        = 1045
	NoSuchTable        = 1146

	tableExists = 1050
)

// Is says whether the server answered with one of the numbers.
func Is(err error, numbers ...uint16) bool {
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains(numbers, answer.Number)
}

// Disconnected says whether the connection ended without an answer.
func Disconnected(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
