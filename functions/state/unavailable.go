package state

import (
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Unavailable says whether err means that the database is away, or takes no
// connection or no writes at the moment: what may work in a while.
func Unavailable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		// Classes of PostgreSQL's codes (manual, appendix A): connection
		// exception, transaction rollback (a deadlock, say), insufficient
		// resources, operator intervention; and a standby that is read-only.
		class := pg.Code[:min(2, len(pg.Code))]
		return class == "08" || class == "40" || class == "53" || class == "57" || pg.Code == "25006"
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if errors.Is(err, io.EOF) || errors.Is(err, pgx.ErrTxClosed) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return true // the connection was lost in a transaction
	}
	return err != nil && (pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "unexpected EOF"))
}

// Codes of PostgreSQL (manual, appendix A).
const (
	diskFull        = "53100"
	uniqueViolation = "23505"
)

// NoRoom says whether err means that the database's disk is full.
func NoRoom(err error) bool { return hasCode(err, diskFull) }

// Duplicate says whether err means that there is such a row already.
func Duplicate(err error) bool { return hasCode(err, uniqueViolation) }

func hasCode(err error, code string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == code
}
